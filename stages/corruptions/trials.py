"""Trials: held-out images, clean and under each corruption."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.corruptions.contract import Corruption
from stages.corruptions.settings import CorruptionSettings
from stages.data.arrays import Manifest, Split, open_split, unit_range
from stages.data.evaluation import evaluation_subset
from stages.study.errors import StudyError
from stages.study.lookup import find
from stages.study.seeds import Draws, generator
from stages.study.study import Study

BATCH = 100  # images; fixed, because images of a batch exchange their amplitudes and textures


class Trial(NamedTuple):
    """One condition: test images under one corruption, level and amplitude, with their classes."""

    name: str
    level: float
    amplitude: float  # 0 for corruptions without amplitude
    images: np.ndarray  # (n,) indices of the images
    truth: dict[str, np.ndarray]  # label set -> (n,) class
    rival: dict[str, np.ndarray]  # label set -> (n,) class of a competing cue, -1 for none; may be empty
    batches: Iterator[Tensor]  # (B, 3, S, S) in [0, 1] or, with noise, beyond


def corrupted(params: Study, manifest: Manifest) -> Iterator[Trial]:
    """Yield the clean trial, then every corruption at each of its levels and amplitudes.

    Raises StudyError if a corruption does not exist or does not fit images of this size.
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
            batches = changed(
                name,
                split,
                few,
                level=level,
                settings=settings.at(amplitude),
                draws=generator(params.seed, "robustness", name),  # the same for every level and amplitude
            )
            first = next(batches)  # so that a level that fits no image is an error before anything runs
            yield Trial(name, level, amplitude, few, truth, {}, itertools.chain([first], batches))


def changed(
    name: str,
    split: Split,
    chosen: np.ndarray,
    *,
    level: float,
    settings: CorruptionSettings,
    draws: torch.Generator,
) -> Iterator[Tensor]:
    """Yield the corrupted images of a split in batches, each when it is needed.

    name: of the corruption; chosen: (n,) indices
    Raises StudyError if the level does not fit images of this size.
    """
    corruption = find(Corruption, name)
    for indices, images in zip(in_batches(chosen), pictures(split, chosen), strict=True):
        try:
            yield corruption.corrupt(
                images,
                level=level,
                settings=settings,
                masks=None if split.masks is None else torch.from_numpy(split.masks[indices]),
                draws=Draws(draws, batch=len(images)),
            )
        except ValueError as error:
            raise StudyError(f"params.yaml: robustness.corruptions.{name}.levels: {error}") from None


def pictures(split: Split, chosen: np.ndarray) -> Iterator[Tensor]:
    """Yield images of a split in batches (B, 3, S, S) in [0, 1]. chosen: (n,) indices"""
    for indices in in_batches(chosen):
        rows = np.ascontiguousarray(split.images[indices].transpose(0, 3, 1, 2))
        yield unit_range(torch.from_numpy(rows))


def in_batches(chosen: np.ndarray) -> list[np.ndarray]:
    """Divide indices (n,) into batches; a single last one joins the batch before, to have another image."""
    return np.split(chosen, range(BATCH, len(chosen) - 1, BATCH))
