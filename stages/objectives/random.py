"""The control: the initialisation that all arms start from, not trained at all."""

from torch import nn

from stages.study.params import Arm, Objectives

SETTINGS = ()  # it depends on no section of objectives:


def build(encoder: nn.Module, *, arm: Arm, settings: Objectives, seed: int) -> None:
    """There is nothing to train."""
