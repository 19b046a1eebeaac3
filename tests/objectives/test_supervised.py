"""Supervised: the loss of each label set, and that no other objective is shown a label."""

import math
from pathlib import Path

import pytest
import torch

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives import supervised
from stages.objectives.contract import Objective
from stages.study.lookup import find, plugins
from stages.study.params import load_params
from stages.study.seeds import Draws
from stages.study.settings import Arm

VIT = Vit(width=32, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
SETTINGS = load_params().objectives


@pytest.fixture
def task():
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    arm = Arm(objective="supervised")
    return supervised.build(encoder, arm=arm, settings=SETTINGS, seed=0, classes=[4, 2])


@pytest.fixture
def labels():
    first = torch.arange(32) % 4
    return torch.stack([first, first // 2], dim=1)


@pytest.fixture
def images(labels):
    """Each class has its brightness."""
    noise = torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return 0.2 * noise + 0.2 * labels[:, 0, None, None, None]


def views_of(task, images, labels, seed=0):
    draws = Draws(torch.Generator().manual_seed(seed), batch=len(images))
    return task.views(images, normalize=lambda view: 4 * (view - 0.5), draws=draws, labels=labels)


def test_the_loss_of_heads_that_know_nothing_is_that_of_guessing(task, images, labels):
    for head in task.heads:
        torch.nn.init.zeros_(head.weight)
    loss = task(*views_of(task, images, labels))["loss"]
    assert loss.item() == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-5)


def test_the_loss_is_a_loop_over_images_and_label_sets(task, images, labels):
    view, _ = views_of(task, images, labels)
    smoothing, terms = SETTINGS.supervised.label_smoothing, []
    for image, row in zip(view, labels, strict=True):
        token = task.encoder(image[None])[0, 0]
        for head, label in zip(task.heads, row, strict=True):
            scores = head(token).log_softmax(dim=0)
            terms.append(-(1 - smoothing) * scores[label] - smoothing * scores.mean())
    torch.testing.assert_close(task(view, labels)["loss"], torch.stack(terms).mean(), rtol=1e-5, atol=1e-6)


def test_it_learns_the_labels_of_every_set(task, images, labels):
    optimizer = torch.optim.AdamW(task.parameters(), lr=2e-3)
    for step in range(60):
        loss = task(*views_of(task, images, labels, seed=step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens = task.encoder(4 * (images - 0.5))[:, 0]
    for head, truth in zip(task.heads, labels.unbind(1), strict=True):
        assert (head(tokens).argmax(dim=1) == truth).float().mean() > 0.9


def test_the_head_starts_from_the_seed_and_the_encoder_from_that_of_all(task):
    other = supervised.build(
        build_encoder(vit=VIT, image_size=16, seed=0),
        arm=Arm(objective="supervised"),
        settings=SETTINGS,
        seed=1,
        classes=[4, 2],
    )
    assert not torch.equal(task.heads[0].weight, other.heads[0].weight)
    for name, value in task.encoder.state_dict().items():
        assert torch.equal(value, other.encoder.state_dict()[name])


def test_no_other_objective_is_shown_a_label(images, labels):
    objectives = {
        name: find(Objective, name) for name in plugins(Path("stages/objectives"), constant="OBJECTIVE")
    }
    assert [name for name, objective in objectives.items() if objective.needs_labels] == ["supervised"]
    for name, objective in objectives.items():
        if objective.build is None or objective.needs_labels:
            continue
        encoder = build_encoder(vit=VIT, image_size=16, seed=0)
        arm = Arm.model_construct(objective=name, cl_weight=0.5)
        task = objective.build(encoder, arm=arm, settings=SETTINGS, seed=0, classes=[])
        with pytest.raises(TypeError, match="labels"):
            views_of(task, images, labels)
