"""Epochs in parts: every image once an epoch, the schedules of whole epochs, one row of history per epoch."""

import numpy as np
import pytest

from stages.training import parts
from stages.training.parts import in_epochs, parts_of, train_in_parts
from stages.training.settings import Pretrain
from tests.project import ROOT

RECIPE = {
    "epochs": 3,
    "batch_size": 2,
    "lr": 0.1,
    "warmup_epochs": 0.5,
    "weight_decay": 0.05,
    "clip_grad": 3.0,
}


def recipe():
    from stages.study.params import load_params

    common = load_params(ROOT / "params.yaml").pretrain.model_dump()
    return Pretrain.model_validate(common | RECIPE)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(0, 1), (7, 1), (15, 1), (16, 2), (17, 1), (312, 26), (625, 25), (1251, 9), (4096, 32), (10**6, 32)],
)
def test_parts_are_equal_and_neither_too_many_nor_too_short(steps, expected):
    assert parts_of(steps) == expected


def test_history_has_one_row_per_epoch():
    history = [{"epoch": float(part), "loss": float(part), "lr": 10.0 - part} for part in range(1, 7)]
    assert in_epochs(history, parts=3) == [
        {"epoch": 1.0, "loss": 2.0, "lr": 7.0},
        {"epoch": 2.0, "loss": 5.0, "lr": 4.0},
    ]
    assert in_epochs(history[:2], parts=1) == history[:2]


class Records:
    """Stands in for the loop, the task and the checkpoints; records what they receive."""

    def __init__(self):
        self.parts, self.epochs, self.read, self.viewed = 1, [], [], []

    def after_epoch(self, epoch):
        self.epochs.append(epoch)

    def train(self, task, *, inputs, batches, images, recipe, stop_epoch, **options):
        self.recipe, self.images, self.stop_epoch = recipe, images, stop_epoch
        for part in range(stop_epoch):
            order = list(np.random.default_rng(part).permutation(images).reshape(-1, recipe.batch_size))
            for indices, batch in zip(order, batches(part, order), strict=True):
                inputs(batch, indices, None)
            task.after_epoch(part + 1)
        return [{"epoch": part + 1.0, "loss": 1.0, "lr": 0.1} for part in range(stop_epoch)]


@pytest.mark.parametrize("stop_epoch", [None, 2])
def test_every_epoch_shows_every_image_once_in_another_order(monkeypatch, stop_epoch):
    records = Records()
    monkeypatch.setattr(parts, "train", records.train)

    def batches(epoch, order):
        for indices in order:
            records.read.append((epoch, indices))
            yield indices

    history = train_in_parts(
        records,
        inputs=lambda batch, indices, draws: records.viewed.append((batch, indices)),
        batches=batches,
        images=65,  # 32 steps of 2 images, in 4 parts; one image is left over
        recipe=recipe(),
        seed=3,
        checkpoints=records,
        stop_epoch=stop_epoch,
    )
    epochs = stop_epoch or 3
    assert [row["epoch"] for row in history] == [1.0, 2.0, 3.0][:epochs]
    assert records.parts == 4 and records.images == 16 and records.stop_epoch == 4 * epochs
    assert records.epochs == [epoch for epoch in range(1, epochs + 1) for _ in range(4)]
    assert all((batch == indices).all() for batch, indices in records.viewed)  # labels fit the images
    shown = [
        np.concatenate([indices for of, indices in records.read if of == epoch]) for epoch in range(epochs)
    ]
    for images in shown:
        assert len(images) == len(set(images)) == 64 and set(images) < set(range(65))
    assert not (shown[0] == shown[1]).all()
    # The schedules see the same step counts as without parts.
    assert records.recipe.epochs == 12 and records.recipe.warmup_epochs == 2.0
    assert records.recipe.peak_lr == recipe().peak_lr and records.recipe.clip_grad == 3.0
