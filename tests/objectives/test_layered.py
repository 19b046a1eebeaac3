"""The layered hybrid: which loss reaches which block, and its step computed plainly."""

import copy

import pytest
import torch

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives import layered
from stages.objectives.layered import block_at
from stages.study.params import load_params
from stages.study.settings import Arm
from tests.objectives.descent import losses_of_training
from tests.objectives.reference import plain_targets
from tests.objectives.test_objectives import follows, views_of
from tests.objectives.test_reference_step import plain_contrastive

VIT = Vit(width=32, depth=4, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
SETTINGS = load_params().objectives


def make(block=2, cl_weight=0.3):
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    arm = Arm(objective="layered", cl_weight=cl_weight, mim_block=block)
    return layered.build(encoder, arm=arm, settings=SETTINGS, seed=0)


@pytest.fixture
def images():
    noise = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=16, mode="bilinear")


def gradients(task, loss):
    """Name of every parameter of the encoder that learns -> its gradient; None where none reaches it."""
    named = {name: p for name, p in task.encoder.named_parameters() if p.requires_grad}
    values = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return dict(zip(named, values, strict=True))


@pytest.mark.parametrize(
    ("place", "depth", "block"),
    [(1, 6, 1), (6, 6, 6), (0.5, 6, 3), (0.01, 6, 1), (0.99, 12, 12), (0.25, 12, 3)],
)
def test_a_block_is_named_by_its_number_or_by_a_share_of_the_depth(place, depth, block):
    assert block_at(place, depth=depth) == block


@pytest.mark.parametrize("block", [1, 3, 4])
def test_no_gradient_of_the_masked_loss_reaches_a_later_block(images, block):
    task = make(block)
    grads = gradients(task, task.masked(*views_of(task, images)[2:])["loss"])
    reached = {int(name.split(".")[1]) + 1 for name, g in grads.items() if "blocks" in name and g is not None}
    assert reached == set(range(1, block + 1))
    assert grads["norm.weight"] is None and grads["patch_embed.proj.weight"].abs().sum() > 0
    # In the sum the others do have a gradient: that of the contrastive loss, exactly.
    views = views_of(task, images)
    of_sum, of_contrastive = (
        gradients(task, task(*views)["loss"]),
        gradients(task, 0.3 * task.contrastive(*views[:2])["loss"]),
    )
    late = [name for name in grads if name.startswith("norm.") or ("blocks" in name and grads[name] is None)]
    assert late and all(torch.equal(of_sum[name], of_contrastive[name]) for name in late)


def test_the_gradient_of_the_sum_is_the_weighted_sum(images):
    task = make()
    # Its initialisation is so small that the first norm enlarges the rounding of its gradient a thousandfold.
    torch.nn.init.normal_(task.encoder.cls_token, std=0.5, generator=torch.Generator().manual_seed(1))
    views = views_of(task, images)
    whole = gradients(task, task(*views)["loss"])
    contrastive = gradients(task, task.contrastive(*views[:2])["loss"])
    masked = gradients(task, task.masked(*views[2:])["loss"])
    for name, gradient in whole.items():
        parts = [weight * g for weight, g in ((0.3, contrastive[name]), (0.7, masked[name])) if g is not None]
        torch.testing.assert_close(gradient, sum(parts), rtol=1e-4, atol=1e-6, msg=name)


def test_the_loss_falls(images):
    task = make()
    losses = losses_of_training(task, lambda step: views_of(task, images, seed=step))
    assert sum(losses[-5:]) < 0.96 * sum(losses[:5])


def test_a_step_is_that_of_a_plain_loop():
    task = make()
    torch.nn.init.normal_(task.encoder.cls_token, std=0.5, generator=torch.Generator().manual_seed(1))
    reference = copy.deepcopy(task)
    generator = torch.Generator().manual_seed(0)
    first, second, images = torch.randn(3, 6, 3, 16, 16, generator=generator)
    mask = (torch.rand(6, 4, 4, generator=generator) < 0.5).float()
    mask[:, 0, 0] = 1
    loss = task(first, second, images, mask)["loss"]
    loss.backward()

    encoder, mim = reference.encoder, reference.masked
    error = []
    targets = plain_targets(images, mim.settings.target_window)
    for image, of_image, hidden in zip(images, targets, mask, strict=True):
        patches = encoder.patch_embed(image[None])[0]
        tokens = torch.stack(
            [mim.mask_token if hide else patch for patch, hide in zip(patches, hidden.flatten(), strict=True)]
        )
        tokens = torch.cat([encoder.cls_token[0], tokens]) + encoder.pos_embed[0]
        for block in encoder.blocks[:2]:
            tokens = block(tokens[None])[0]
        centred = tokens - tokens.mean(dim=1, keepdim=True)
        normed = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
        for index in hidden.flatten().nonzero().flatten().tolist():
            guess = mim.decoder(normed[1 + index] * mim.norm.weight + mim.norm.bias).reshape(4, 4, 3)
            row, column = 4 * (index // 4), 4 * (index % 4)
            target = of_image[:, row : row + 4, column : column + 4].permute(1, 2, 0)
            error.append((guess - target).abs().flatten())
    expected = 0.7 * torch.cat(error).mean() + 0.3 * plain_contrastive(reference.contrastive, first, second)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    steps = []
    for one in (task, reference):
        torch.optim.SGD([p for p in one.parameters() if p.grad is not None], lr=0.5).step()
        steps.append(dict(one.named_parameters()))
    assert {name for name, p in steps[0].items() if p.grad is not None} == {
        name for name, p in steps[1].items() if p.grad is not None
    }
    for name, value in steps[1].items():
        torch.testing.assert_close(steps[0][name], value, rtol=1e-4, atol=2e-6, msg=name)


def test_it_starts_from_the_encoder_and_the_decoder_of_the_hybrid():
    from stages.objectives import hybrid

    other = hybrid.build(
        build_encoder(vit=VIT, image_size=16, seed=0),
        arm=Arm(objective="hybrid", cl_weight=0.3),
        settings=SETTINGS,
        seed=0,
    )
    ours, theirs = (
        {k: v for k, v in task.state_dict().items() if torch.is_tensor(v)} for task in (make(), other)
    )
    assert set(ours) - set(theirs) == {"masked.norm.weight", "masked.norm.bias"}
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_the_key_network_follows_with_its_projector():
    task = make()
    part = task.contrastive
    pairs = [(part.key_encoder, part.encoder), (part.key_projector, part.projector)]
    follows(task, pairs, momentum=SETTINGS.contrastive.momentum)
