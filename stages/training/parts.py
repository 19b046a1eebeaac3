"""Train every epoch in parts, so that a killed run resumes inside an epoch and ends in the same bytes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from stages.study.seeds import Draws, derive
from stages.training.checkpoints import Checkpoints
from stages.training.loop import History, Inputs, Recipe, train
from stages.training.task import Task

MOST = 32  # parts of an epoch
LEAST = 8  # steps of a part; hybrids compare gradients within each part


@dataclass
class RecipeOfParts:
    """A recipe whose epochs are parts of epochs; its schedules have the same values at every step."""

    epochs: int
    batch_size: int
    peak_lr: float
    weight_decay: float
    warmup_epochs: float
    clip_grad: float | None


def train_in_parts(
    task: Task,
    *,
    inputs: Inputs,
    batches: Callable[[int, list[np.ndarray]], Iterator[Any]],
    images: int,
    recipe: Recipe,
    seed: int,
    checkpoints: Checkpoints,
    stop_epoch: int | None = None,
    **options: Any,
) -> History:
    """Train as `train` does, but end every part of an epoch as `train` ends an epoch.

    A part has its own random numbers, so a run can resume after it. task.after_epoch follows each part. An
    epoch shows every image once, except for those of an incomplete last batch. The number of parts depends
    only on the number of steps. Arguments and history are those of `train`.
    """
    steps = images // recipe.batch_size
    parts = parts_of(steps)
    size = steps // parts * recipe.batch_size or images
    epochs = recipe.epochs if stop_epoch is None else stop_epoch
    chunk = np.arange(0)  # the images of the current part; `train` numbers them from 0

    def batches_of(part: int, order: list[np.ndarray]) -> Iterator[Any]:
        nonlocal chunk
        epoch, place = divmod(part, parts)
        shuffled = np.random.default_rng(derive(seed, "epoch", epoch)).permutation(images)
        chunk = shuffled[place * size : (place + 1) * size]
        return batches(epoch, [chunk[numbers] for numbers in order])

    def inputs_of(batch: Tensor, numbers: np.ndarray, draws: Draws) -> tuple[Tensor, ...]:
        return inputs(batch, chunk[numbers], draws)

    after_epoch = task.after_epoch
    task.after_epoch = lambda epoch: after_epoch(math.ceil(epoch / parts))  # type: ignore[method-assign]
    checkpoints.parts = parts
    history = train(
        task,
        inputs=inputs_of,
        batches=batches_of,
        images=size,
        recipe=RecipeOfParts(
            epochs=recipe.epochs * parts,
            batch_size=recipe.batch_size,
            peak_lr=recipe.peak_lr,
            weight_decay=recipe.weight_decay,
            warmup_epochs=recipe.warmup_epochs * parts,
            clip_grad=recipe.clip_grad,
        ),
        seed=seed,
        checkpoints=checkpoints,
        stop_epoch=epochs * parts,
        **options,
    )
    return in_epochs(history, parts=parts)


def parts_of(steps: int) -> int:
    """Return the largest number of equal parts of an epoch: at most MOST, of at least LEAST steps each."""
    most = min(MOST, steps // LEAST)
    return max((parts for parts in range(1, most + 1) if steps % parts == 0), default=1)


def in_epochs(history: History, *, parts: int) -> History:
    """Return one row per epoch, given one row per part: the means, and the last learning rate."""
    rows = []
    for epoch, start in enumerate(range(0, len(history), parts), start=1):
        group = history[start : start + parts]
        means = {key: sum(row[key] for row in group) / len(group) for key in group[0]}
        rows.append(means | {"epoch": float(epoch), "lr": group[-1]["lr"]})
    return rows
