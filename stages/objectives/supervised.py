"""Supervised training with cross-entropy on the labels, the upper control.

Source: a linear layer on the class token as in Touvron et al. 2021, "Training Data-Efficient Image
Transformers & Distillation through Attention"; label smoothing of Szegedy et al. 2016, §7.
Departures: the weak augmentation (crop and flip) of masked image modelling instead of mixup, cutmix and
RandAugment, and by default the common recipe without stochastic depth. Only the labels then differ from the
other arms. Each label set has its own layer.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.data.augment import Normalize, weak_view
from stages.encoders.vit import embed, encode_class_token
from stages.objectives.contract import Objective
from stages.objectives.settings import Objectives, Supervised
from stages.study.seeds import Draws
from stages.study.settings import Arm
from stages.training.task import Task


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int]
) -> "Classification":
    """Return the objective for an encoder; the seed initialises the heads.

    classes: number of classes of each label set
    """
    return Classification(encoder, classes=classes, settings=settings.supervised, seed=seed)


class Classification(Task):
    """An encoder that learns to classify images by every label set."""

    def __init__(
        self, encoder: VisionTransformer, *, classes: Sequence[int], settings: Supervised, seed: int
    ) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = [nn.Linear(encoder.embed_dim, count) for count in classes]
            for head in heads:
                nn.init.trunc_normal_(head.weight, std=0.02)
                nn.init.zeros_(head.bias)
        self.heads = nn.ModuleList(heads)

    def views(
        self, images: Tensor, *, normalize: Normalize, draws: Draws, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return one normalised weak view of each image, and its labels.

        images: (B, 3, S, S) in [0, 1]
        labels: (B, label sets)
        """
        view = weak_view(images, settings=self.settings, draws=draws)
        return normalize(view), labels

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the mean loss over label sets. images: (B, 3, S, S), normalised; labels: (B, label sets)"""
        tokens = encode_class_token(self.encoder, embed(self.encoder, images))
        losses = [
            F.cross_entropy(head(tokens).float(), target, label_smoothing=self.settings.label_smoothing)
            for head, target in zip(self.heads, labels.unbind(1), strict=True)
        ]
        return {"loss": torch.stack(losses).mean()}


OBJECTIVE = Objective(build=build, settings=("supervised",), needs_labels=True)
