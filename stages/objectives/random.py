"""The control: the initialisation that all arms start from, not trained at all."""

from timm.models.vision_transformer import VisionTransformer

from stages.objectives.settings import Objectives
from stages.study.settings import Arm

SETTINGS = ()  # it depends on no section of objectives:


def build(encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int) -> None:
    """There is nothing to train."""
