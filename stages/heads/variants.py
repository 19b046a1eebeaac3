"""The fine-tunings of one arm: their names, the choice of the pooling, and the protocol in words."""

from typing import Any, NamedTuple

import numpy as np

from stages.training.settings import Finetune, Pooling


class Variant(NamedTuple):
    """Seed and pooling of one fine-tuning of an arm."""

    seed: int
    pooling: Pooling

    def folder(self, best: Pooling) -> str:
        """Return the name of the folder in the out: the seed, with the pooling unless it is the best one."""
        return f"{self.seed}" if self.pooling == best else f"{self.seed}-{self.pooling}"


def best_pooling(metrics: dict[Pooling, dict[str, Any]]) -> Pooling:
    """Return the pooling with the highest validation accuracy, averaged over seeds and label sets.

    metrics: pooling -> metrics from `over_seeds`; `validation` holds the accuracy for each label set
    """
    if len(metrics) == 1:
        return next(iter(metrics))
    return max(metrics, key=lambda pooling: float(np.mean(list(metrics[pooling]["validation"].values()))))


def protocol(settings: Finetune, *, pooling: Pooling) -> str:
    """Return the protocol in words, as printed beside every number."""
    images = f"{settings.train_images} training images" if settings.train_images else "all training images"
    start = {"linear_probe": "a linear probe", "new": "a new head"}[settings.head]
    epochs = f"{settings.epochs} epoch{'s' if settings.epochs > 1 else ''}"
    token = {"mean": "mean-pooled patch tokens", "token": "class token"}[pooling]
    choice = (
        f", pooling chosen on {settings.validation_fraction:.0%} of the training set"
        if len(settings.poolings) > 1
        else ""
    )
    return (
        f"all weights trained from {start}, {images}, {epochs}, AdamW, learning rate {settings.lr:g}, "
        f"layer decay {settings.layer_decay:g}, "
        f"mixup {settings.mixup:g}, cutmix {settings.cutmix:g}, {settings.randaugment or 'no RandAugment'}, "
        f"drop path {settings.drop_path:g}, {token}, last epoch{choice}"
    )
