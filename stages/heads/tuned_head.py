"""Load the linear head of a fine-tuned encoder, stored beside the encoder in results/finetune/."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

FEATURE = {"mean": "mean", "token": "cls"}  # name of each pooling in `vit.pooled`


@dataclass(frozen=True)
class TunedHead:
    """A linear head for all classes of all label sets. weight: (C, D), bias: (C,)"""

    weight: Tensor
    bias: Tensor
    feature: str  # name of the pooled feature that it uses

    def __call__(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return scores (n, C). features: (n, D) each, from `vit.pooled_features` of the tuned encoder"""
        return features[self.feature] @ self.weight.T + self.bias


def load_head(directory: Path, *, device: torch.device) -> TunedHead:
    """Load the head of a fine-tuned encoder with the pooling that it was trained with."""
    with safe_open(directory / "head.safetensors", framework="pt", device=str(device)) as file:
        feature = FEATURE[file.metadata()["pooling"]]
        return TunedHead(file.get_tensor("weight"), file.get_tensor("bias"), feature)
