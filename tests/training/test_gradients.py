"""How two gradients agree: closed forms of quadratic losses, and a training that does not notice."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives import hybrid, layered
from stages.study.params import load_params
from stages.study.settings import Arm
from stages.training.checkpoints import Checkpoints
from stages.training.devices import make_fabric
from stages.training.gradients import agreement, gradients
from stages.training.loop import train
from tests.objectives.test_objectives import views_of
from tests.project import ROOT

VIT = Vit(width=16, depth=3, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
PARAMS = load_params(ROOT / "params.yaml")
MODULES = {"hybrid": hybrid, "layered": layered}


def make(objective="hybrid"):
    arm = Arm(objective=objective, cl_weight=0.3, mim_block=2 if objective == "layered" else None)
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    return MODULES[objective].build(encoder, arm=arm, settings=PARAMS.objectives, seed=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_two_quadratic_losses_have_gradients_of_closed_form(dtype):
    weights = [
        torch.tensor([1.0, 2.0], dtype=dtype).requires_grad_(),
        torch.ones(1, 1, dtype=dtype).requires_grad_(),
    ]
    scale = torch.tensor([3.0, 1.0], dtype=dtype)
    first = (scale * weights[0].square()).sum() / 2 + weights[1].sum() ** 2  # gradients (3, 2) and (2)
    second = (weights[0] - 2).square().sum() / 2 - 5 * weights[1].sum()  # (-1, 0) and (-5)
    groups = [[weights[0]], [weights[1]]]
    of_first, of_second = gradients(first, groups), gradients(second, groups)
    assert [g.tolist() for g in of_first] == [[3, 2], [2]] and [g.tolist() for g in of_second] == [
        [-1, 0],
        [-5],
    ]
    assert agreement(of_first[0], of_second[0]) == pytest.approx((-3 / math.sqrt(13), math.sqrt(13), 1))
    assert agreement(of_first[1], of_second[1]) == pytest.approx((-1, 2, 5))
    # A group of several tensors is one vector.
    both = [
        gradients(loss, [weights])[0] for loss in (weights[0].prod() + weights[1].sum(), weights[1].sum())
    ]
    assert agreement(*both).cosine == pytest.approx(1 / math.sqrt(6))
    assert all(weight.grad is None for weight in weights)


def test_identical_opposite_and_vanishing_gradients():
    gradient = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 1e-12
    assert agreement(gradient, 3 * gradient).cosine == pytest.approx(1)
    assert agreement(gradient, -gradient).cosine == pytest.approx(-1)
    assert math.isnan(agreement(gradient, 0 * gradient).cosine)
    with pytest.raises(ValueError, match="other weights"):
        agreement(gradient, gradient[:1])


def test_weights_that_a_loss_does_not_reach_have_a_gradient_of_zero():
    reached, apart, still = (
        torch.ones(2, requires_grad=True),
        torch.ones(3, requires_grad=True),
        torch.ones(1),
    )
    assert [g.tolist() for g in gradients(reached.sum(), [[reached], [apart, still]])] == [[1, 1], [0] * 4]


@pytest.mark.parametrize("objective", MODULES)
def test_a_hybrid_keeps_the_agreement_of_its_two_losses_by_block(objective):
    task = make(objective)
    views = views_of(task, torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    task.after_epoch(5, views)
    assert [(row["epoch"], row["block"]) for row in task.gradients] == [(5, 1), (5, 2), (5, 3)]
    plain = []
    for loss in (task.contrastive(*views[:2]), task.masked(*views[2:])):
        task.zero_grad()
        loss["loss"].backward()
        block = task.encoder.blocks[1].parameters()
        plain.append(np.concatenate([p.grad.numpy().ravel() for p in block]).astype(float))
    row = task.gradients[1]
    expected = plain[0] @ plain[1] / np.linalg.norm(plain[0]) / np.linalg.norm(plain[1])
    assert row["cosine"] == pytest.approx(expected, abs=1e-5)
    assert row["norm_cl"] == pytest.approx(np.linalg.norm(plain[0]), rel=1e-5)
    assert row["norm_mim"] == pytest.approx(np.linalg.norm(plain[1]), rel=1e-5)
    last = task.gradients[2]
    assert (last["norm_mim"] == 0 and math.isnan(last["cosine"])) == (objective == "layered")
    again = make(objective)
    again.load_state_dict(copy.deepcopy(task.state_dict()))
    assert str(again.gradients) == str(task.gradients)


@pytest.mark.parametrize("objective", MODULES)
def test_the_training_does_not_notice_that_it_is_watched(objective, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    images = torch.randint(
        256, (32, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )

    def trained(name):
        task = make(objective)
        train(
            task,
            inputs=lambda batch, indices, draws: task.views(
                batch.float() / 255, normalize=lambda v: v, draws=draws
            ),
            batches=lambda epoch, order: (images[indices] for indices in order),
            images=len(images),
            recipe=PARAMS.pretrain.model_copy(update={"epochs": 3, "batch_size": 8}),
            betas=(0.9, 0.95),
            layer_decay=None,
            seed=0,
            fabric=make_fabric(
                PARAMS.runtime.model_copy(update={"accelerator": "cpu", "threads": 1}), precision="32-true"
            ),
            checkpoints=Checkpoints(f"pretrain-{name}", Path("scratch") / name),
        )
        return task

    watched = trained("watched")
    assert len(watched.gradients) == 3 * VIT.depth
    monkeypatch.setattr(MODULES[objective].Hybrid, "after_epoch", lambda task, epoch, views: None)
    alone = trained("alone")
    assert alone.gradients == []
    for name, weight in watched.encoder.state_dict().items():
        assert weight.numpy().tobytes() == alone.encoder.state_dict()[name].numpy().tobytes(), name
