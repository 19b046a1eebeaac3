"""How the gradients of two losses agree: closed forms, simulations, and a training that does not notice."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives import hybrid, layered
from stages.objectives.hybrid import EVERY
from stages.study.params import load_params
from stages.study.settings import Arm
from stages.training.checkpoints import Checkpoints
from stages.training.devices import make_fabric
from stages.training.gradients import GradientSums, agreement, balancing_weight, gradients
from stages.training.loop import train
from tests.objectives.test_objectives import views_of
from tests.project import ROOT

VIT = Vit(width=16, depth=3, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
PARAMS = load_params(ROOT / "params.yaml")
MODULES = {"hybrid": hybrid, "layered": layered}


def make(objective="hybrid", **weight):
    arm = Arm(
        objective=objective, mim_block=2 if objective == "layered" else None, **weight or {"cl_weight": 0.3}
    )
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    return MODULES[objective].build(encoder, arm=arm, settings=PARAMS.objectives, seed=0)


def batches_of(task, count):
    images = torch.rand(count, 8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return [views_of(task, batch) for batch in images]


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
    assert [g.tolist() for g in of_first] == [[3, 2], [2]]
    assert [g.tolist() for g in of_second] == [[-1, 0], [-5]]
    # A group of several tensors is one vector, and the graph of the loss is still there.
    assert [g.tolist() for g in gradients(first, [weights])] == [[3, 2, 2]]
    assert all(weight.grad is None for weight in weights)


def test_weights_that_a_loss_does_not_reach_have_a_gradient_of_zero():
    reached, apart, still = (
        torch.ones(2, requires_grad=True),
        torch.ones(3, requires_grad=True),
        torch.ones(1),
    )
    assert [g.tolist() for g in gradients(reached.sum(), [[reached], [apart, still]])] == [[1, 1], [0] * 4]


def test_halves_without_noise_agree_as_their_cosine():
    first, second = torch.tensor([3.0, 4.0]) * 1e-12, torch.tensor([-3.0, 0.0])
    parts = agreement((first, first), (second, second))
    assert parts == pytest.approx((-9e-12, 25e-24, 9, 1, 1))
    assert parts.dot / math.sqrt(parts.square_first * parts.square_second) == pytest.approx(-0.6)
    nothing = agreement((first, first), (0 * first, 0 * first))
    assert nothing.dot == 0 and nothing.half_first == pytest.approx(1) and math.isnan(nothing.half_second)
    with pytest.raises(ValueError, match="must have the same shape"):
        agreement((first, first[:1]), (second, second))


def test_noise_does_not_pull_the_agreement_to_zero():
    # Two gradients with a cosine of -.6, seen in batches whose noise is five times as long.
    generator = torch.Generator().manual_seed(0)
    size, means = 2000, torch.zeros(2, 2000)
    means[0, 0], means[1, 0], means[1, 1] = 1.0, -0.6, 0.8
    totals, plain = np.zeros(3), []
    for _ in range(100):
        sums = GradientSums()
        seen = [torch.zeros(size), torch.zeros(size)]
        for _ in range(16):
            loss = sums.due
            batch = means[loss] + 5 * torch.randn(size, generator=generator) / size**0.5
            seen[loss] += batch
            sums.add([batch])
        (parts,) = sums.agreements()
        totals += parts[:3]
        plain.append(torch.cosine_similarity(*seen, dim=0).item())
    assert np.mean(plain) == pytest.approx(-0.6 / (1 + 25 / 8), abs=0.02)  # eight batches of each loss
    assert totals[0] / math.sqrt(totals[1] * totals[2]) == pytest.approx(-0.6, abs=0.06)
    first, second = sums.norms()
    assert [*first, *second] == pytest.approx([math.sqrt(26)] * 2, rel=0.05)  # what one batch has


def test_sums_take_the_losses_in_turn_and_need_every_half():
    sums = GradientSums()
    assert sums.norms() is None and sums.agreements() is None
    rows = [torch.tensor([float(number)]) for number in (1, 10, 2, 20, 3)]
    for row, loss in zip(rows, (0, 1, 0, 1, 0), strict=True):
        assert sums.due == loss and (sums.agreements() is None) == (sums.batches < 4)
        sums.add([row])
    (parts,) = sums.agreements()
    # halves of the first: (1 + 3) / 2 and 2; of the second: 10 and 20
    assert parts[:3] == pytest.approx((2 * 15, 2 * 2, 10 * 20))
    assert sums.norms() == (pytest.approx([math.sqrt(14 / 3)]), pytest.approx([math.sqrt(250)]))


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_the_balancing_weight_gives_the_ratio(ratio):
    norms = ([3.0, 4.0, 7.0], [5.0, 12.0, 0.0])  # the last group has a gradient of one loss only
    weight = balancing_weight(ratio, norms)
    assert weight * 5 == pytest.approx(ratio * (1 - weight) * 13)


@pytest.mark.parametrize(
    "norms", [([math.nan], [1.0]), ([math.inf], [1.0]), ([2.0], [math.inf]), ([0.0], [1.0])]
)
def test_without_finite_gradients_of_both_losses_there_is_no_balance(norms):
    assert math.isnan(balancing_weight(1.0, norms))


@pytest.mark.parametrize("objective", MODULES)
def test_a_diverged_hybrid_has_a_loss_that_is_no_number(objective):
    """The training then stops with a line that names the step and what to change."""
    task = make(objective, gradient_ratio=1.0)
    (views,) = batches_of(task, 1)
    with torch.no_grad():
        task.encoder.blocks[0].attn.qkv.weight.fill_(math.nan)
    for step in (0, EVERY):
        task.step = step
        assert math.isnan(task(*views)["loss"].item())


def test_gradients_below_the_smallest_float16_are_measured():
    """In float16, a loss per pixel of a large batch has gradients of 1e-8; training scales its loss, too."""
    layer = torch.nn.Linear(8, 8)
    inputs = torch.randn(64, 8)

    def measured(precision):
        with torch.autocast("cpu", dtype=torch.float16, enabled=precision == "16"):
            loss = layer(inputs).square().sum() * 2e-9
        return gradients(loss.float(), [list(layer.parameters())])[0]

    torch.testing.assert_close(measured("16"), measured("32"), rtol=0.05, atol=1e-9)


@pytest.mark.parametrize("objective", MODULES)
def test_a_hybrid_keeps_the_agreement_of_its_two_losses_by_block(objective):
    task = make(objective)
    plain = {}
    for number, views in enumerate(batches_of(task, 4)):
        copy = make(objective)
        part = copy.contrastive(*views[:2]) if number % 2 == 0 else copy.masked(*views[2:])
        part["loss"].backward()
        block = copy.encoder.blocks[1].parameters()
        plain[number] = np.concatenate([p.grad.numpy().ravel() for p in block]).astype(float)
        task.step += 1
        task(*views)
    task.after_epoch(5)
    assert [(row["epoch"], row["block"], row["batches"]) for row in task.gradients] == [
        (5, 1, 4), (5, 2, 4), (5, 3, 4)
    ]  # fmt: skip
    row = task.gradients[1]
    assert row["dot"] == pytest.approx((plain[0] + plain[2]) @ (plain[1] + plain[3]) / 4, rel=1e-3)
    assert row["square_cl"] == pytest.approx(plain[0] @ plain[2], rel=1e-3)
    assert row["square_mim"] == pytest.approx(plain[1] @ plain[3], rel=1e-3)
    lengths = {number: np.linalg.norm(gradient) for number, gradient in plain.items()}
    assert row["half_mim"] == pytest.approx(plain[1] @ plain[3] / lengths[1] / lengths[3], rel=1e-3)
    assert row["norm_cl"] == pytest.approx(math.hypot(lengths[0], lengths[2]) / math.sqrt(2), rel=1e-4)
    last = task.gradients[2]
    assert (last["norm_mim"] == 0 and math.isnan(last["half_mim"])) == (objective == "layered")
    again = make(objective)
    again.load_state_dict(task.state_dict())
    assert str(again.gradients) == str(task.gradients) and again.cl_weight == task.cl_weight == 0.3
    assert task.sums.batches == 0 and task.step == -1  # the next epoch begins anew


def test_gradients_are_measured_in_the_first_batches_of_an_epoch_and_in_every_16th(monkeypatch):
    task = make()
    measured = []

    def note(loss):
        measured.append(task.step)
        return [torch.ones(2)] * VIT.depth

    monkeypatch.setattr(task, "block_gradients", note)
    (views,) = batches_of(task, 1)
    for _ in range(40):
        task.step += 1
        task(*views)
    assert measured == [0, 1, 2, 3, 16, 32]


@pytest.mark.parametrize("objective", MODULES)
def test_a_gradient_ratio_sets_the_weight_from_the_newest_gradient_of_each_loss(objective):
    task = make(objective, gradient_ratio=2.0)
    first, *others = batches_of(task, 4)
    weights = []
    for views in (first, *others):
        task.step += 1
        losses = task(*views)
        weights.append(task.cl_weight)
        expected = task.cl_weight * losses["contrastive"] + (1 - task.cl_weight) * losses["masked"]
        torch.testing.assert_close(losses["loss"].detach(), expected)

    def length(loss):
        """The norm of a gradient, over the blocks that both losses reach."""
        task.zero_grad()
        loss["loss"].backward()
        reached = [*task.encoder.blocks[: 2 if objective == "layered" else 3].parameters()]
        return torch.cat([weight.grad.ravel() for weight in reached]).norm().item()

    # The first batch measures both losses; then CL and MIM take turns.
    contrastive = [length(task.contrastive(*views[:2])) for views in (first, *others)]
    masked = [length(task.masked(*views[2:])) for views in (first, *others)]
    for weight, (cl, mim) in zip(weights, ((0, 0), (0, 1), (2, 1), (2, 3)), strict=True):
        assert weight * contrastive[cl] == pytest.approx(2 * (1 - weight) * masked[mim], rel=1e-4)
    assert len(set(weights)) == 4
    task.after_epoch(1)
    (mean,) = {row["cl_weight"] for row in task.gradients}
    odds = np.prod([weight / (1 - weight) for weight in weights]) ** (1 / 4)
    assert mean / (1 - mean) == pytest.approx(odds)
    assert task.cl_weight == weights[-1] and not task.odds  # the next epoch goes on with the last weight


def trained(task, *, place="scratch/one", stop_epoch=None, **recipe):
    """The task after 3 epochs of 5 steps of 8 images, checkpoints in a folder."""
    images = torch.randint(
        256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
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
        stop_epoch=stop_epoch,
        fabric=make_fabric(
            PARAMS.runtime.model_copy(update={"accelerator": "cpu", "threads": 1}), precision="32-true"
        ),
        checkpoints=Checkpoints("pretrain", Path(place)),
    )
    return task


def same_weights(one, other):
    states = one.encoder.state_dict(), other.encoder.state_dict()
    return all(torch.equal(weight, states[1][name]) for name, weight in states[0].items())


@pytest.mark.parametrize("objective", MODULES)
def test_the_training_does_not_notice_that_it_is_watched(objective, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    watched = trained(make(objective))
    assert len(watched.gradients) == 3 * VIT.depth
    assert {row["batches"] for row in watched.gradients} == {hybrid.FIRST}
    monkeypatch.setattr(hybrid, "FIRST", 0)
    monkeypatch.setattr(hybrid, "EVERY", 100)
    alone = trained(make(objective), place="scratch/other")
    assert {row["batches"] for row in alone.gradients} == {0} and math.isnan(alone.gradients[0]["dot"])
    assert same_weights(watched, alone)


def test_a_balanced_training_goes_on_from_a_checkpoint_as_if_never_stopped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    whole = trained(make(gradient_ratio=1.0))
    trained(make(gradient_ratio=1.0), place="scratch/other", stop_epoch=2)
    rest = trained(make(gradient_ratio=1.0), place="scratch/other")
    assert len({row["cl_weight"] for row in whole.gradients}) == 3
    assert rest.gradients == whole.gradients and same_weights(rest, whole)


def test_measuring_works_where_activations_are_computed_again(tmp_path):
    plain, small = make(), make()
    for task in (small, small.contrastive, small.masked):
        task.micro_batch = 3
    for views in batches_of(plain, 4):
        for task in (plain, small):
            task.step += 1
            task(*views)["loss"].backward()
    for task in (plain, small):
        task.after_epoch(1)
    for one, other in zip(plain.gradients, small.gradients, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-7)
