"""Held-out images as they are, and corrupted."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.corruptions.contract import Corruption
from stages.data.arrays import Manifest, Split, open_split, unit_range
from stages.data.evaluation import evaluation_subset
from stages.study.errors import StudyError
from stages.study.lookup import find
from stages.study.seeds import Draws, generator
from stages.study.study import Study

BATCH = 100  # images; not a setting, because images of a batch lend each other their amplitudes


class Trial(NamedTuple):
    """Images of one kind, and what can be seen in them."""

    name: str
    level: float
    amplitude: float  # 0: of a kind that has none
    images: np.ndarray  # (n,) their numbers
    truth: dict[str, np.ndarray]  # label set -> (n,) class
    rival: dict[str, np.ndarray]  # label set -> (n,) class of another cue, -1: none; empty if there is none
    batches: Iterator[Tensor]  # (B, 3, S, S) in [0, 1] or, with noise, beyond


def corrupted(params: Study, manifest: Manifest) -> Iterator[Trial]:
    """Held-out images as they are, and under each corruption at each of its levels and amplitudes.

    Raises StudyError if there is no such corruption, or if it cannot be applied to images of this size.
    """
    split = open_split("test")
    chosen = evaluation_subset(len(split.images), params.robustness.images, seed=params.seed)
    truth = {labels: split.labels[labels][chosen] for labels in manifest.labels}
    yield Trial("clean", 0.0, 0.0, chosen, truth, {}, iter(pictures(split, chosen)))
    for name, settings in params.robustness.corruptions.items():
        corruption = find(Corruption, name)
        if corruption.needs_masks and split.masks is None:
            continue
        few = chosen
        if settings.images is not None:
            few = chosen[evaluation_subset(len(chosen), settings.images, seed=params.seed)]
        truth = {labels: split.labels[labels][few] for labels in manifest.labels}
        for amplitude, level in itertools.product(settings.amplitudes or [0.0], settings.levels):
            draws = generator(params.seed, "robustness", name)  # for every level and amplitude the same
            batches = []
            for number, images in enumerate(pictures(split, few)):
                own = few[BATCH * number : BATCH * (number + 1)]
                try:
                    changed = corruption.corrupt(
                        images,
                        level=level,
                        settings=settings.at(amplitude),
                        masks=None if split.masks is None else torch.from_numpy(split.masks[own]),
                        draws=Draws(draws, batch=len(images)),
                    )
                except ValueError as error:
                    raise StudyError(f"params.yaml: robustness.corruptions.{name}.levels: {error}") from None
                batches.append(changed)
            yield Trial(name, level, amplitude, few, truth, {}, iter(batches))


def pictures(split: Split, chosen: np.ndarray) -> Iterator[Tensor]:
    """Images of a split in batches (B, 3, S, S) in [0, 1]."""
    for start in range(0, len(chosen), BATCH):
        rows = np.ascontiguousarray(split.images[chosen[start : start + BATCH]].transpose(0, 3, 1, 2))
        yield unit_range(torch.from_numpy(rows))
