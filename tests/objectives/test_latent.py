"""Latent prediction: what the student sees, what it predicts, and who follows whom."""

import copy

import pytest
import torch

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives import latent
from stages.objectives.losses import latent_smooth_l1, normalized_latents
from stages.objectives.settings import Latent
from stages.study.params import load_params
from stages.study.settings import Arm
from stages.training.loop import parameter_groups
from tests.objectives.descent import losses_of_training
from tests.objectives.reference import layer_norm, patch_tokens, run_blocks
from tests.objectives.test_objectives import draws, views_of

VIT = Vit(width=32, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
SETTINGS = Latent(target_scale=0.06)  # one patch of the 16 in each of 4 blocks


@pytest.fixture
def encoder():
    return build_encoder(vit=VIT, image_size=16, seed=0)


@pytest.fixture
def task(encoder):
    settings = load_params().objectives.model_copy(update={"latent": SETTINGS})
    return latent.build(encoder, arm=Arm(objective="latent"), settings=settings, seed=0)


@pytest.fixture
def images():
    noise = torch.rand(32, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=16, mode="bilinear")


def test_target_blocks_are_squares_anywhere_and_the_context_is_apart_from_them(task, images):
    mask = latent.block_mask(grid=8, side=3, blocks=1, draws=draws(500))
    rows, columns = mask.any(dim=2).sum(dim=1), mask.any(dim=1).sum(dim=1)
    assert (mask.sum((1, 2)) == 9).all() and (rows == 3).all() and (columns == 3).all()
    assert {tuple(corner) for corner in mask.nonzero()[::9, 1:].tolist()} == {
        (row, column) for row in range(6) for column in range(6)
    }
    _, mask, visible = views_of(task, images)
    assert visible.shape == (32, 12) and (visible.diff(dim=1) > 0).all()
    assert mask.flatten(1).gather(1, visible).sum() == 0
    assert 1 <= mask.sum((1, 2)).min() < mask.sum((1, 2)).max() == 4  # blocks may overlap


def test_the_context_is_any_of_the_patches_that_are_no_target(task, images):
    _, mask, visible = views_of(task, images)
    overlap = mask.flatten(1).sum(dim=1) < 4  # more patches are left than the context takes
    chosen = torch.zeros(32, 16).scatter_(1, visible, 1.0)
    first = (mask.flatten(1) == 0).cumsum(dim=1) <= 12  # what a context in order would be
    assert overlap.any() and ((chosen == 1) != (first & (mask.flatten(1) == 0)))[overlap].any(dim=1).sum() > 5


def test_the_loss_is_that_of_pytorch_patch_by_patch():
    generator = torch.Generator().manual_seed(0)
    predicted, latents = (2 * torch.randn(3, 4, 5, generator=generator) for _ in range(2))
    target = normalized_latents(latents, "token")
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1]]).float().reshape(3, 2, 2)
    of_images = []
    for image in range(3):
        terms = []
        for patch in mask[image].flatten().nonzero()[:, 0]:
            value = latents[image, patch]
            value = (value - value.mean()) / (value.var(unbiased=False) + 1e-5).sqrt()
            away = (predicted[image, patch] - value).abs()
            terms.append(torch.where(away < 0.5, away.square(), away - 0.25).mean())
        of_images.append(torch.stack(terms).mean())
    loss = latent_smooth_l1(predicted, target, mask, beta=0.5)
    torch.testing.assert_close(loss, torch.stack(of_images).mean(), rtol=1e-4, atol=1e-6)


def test_normalised_over_an_image_nothing_is_left_of_what_its_patches_share():
    latents = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    targets = normalized_latents(latents, "image")
    centred = latents - latents.mean(dim=1, keepdim=True)
    expected = centred / centred.square().mean(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(targets, expected, rtol=1e-3, atol=1e-4)
    shared = torch.randn(3, 1, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(normalized_latents(latents + shared, "image"), targets, rtol=1e-3, atol=1e-4)
    assert (normalized_latents(shared.expand(3, 4, 5), "image").abs() < 1e-3).all()


def test_the_targets_are_what_the_slow_encoder_makes_of_whole_images(task, images):
    image, mask, visible = views_of(task, images[:3])
    whole = []
    for picture in image:
        patches = torch.stack(patch_tokens(task.encoder, picture))
        tokens = torch.cat([task.encoder.cls_token[0], patches + task.encoder.pos_embed[0, 1:]])
        whole.append(layer_norm(run_blocks(task.encoder.blocks, tokens), task.encoder.norm)[1:])
    predictions = []
    task.predictor.register_forward_hook(lambda _, arguments, output: predictions.append(output))
    result = task(image, mask, visible)
    target = normalized_latents(torch.stack(whole), "image")
    expected = latent_smooth_l1(predictions[0], target, mask, beta=SETTINGS.beta)
    torch.testing.assert_close(result["loss"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result["spread"], torch.stack(whole).std(dim=0).mean(), rtol=1e-4, atol=1e-5)


def test_what_is_hidden_changes_no_prediction(task, images):
    image, mask, visible = views_of(task, images)
    shown = torch.zeros(32, 16).scatter_(1, visible, 1.0).reshape(32, 4, 4)
    seen = shown.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None].bool()
    given = []
    task.predictor.register_forward_hook(lambda _, arguments, output: given.append(output))
    task(image, mask, visible)
    task(torch.where(seen, image, torch.randn_like(image)), mask, visible)
    torch.testing.assert_close(given[0], given[1], rtol=0, atol=0)


def test_the_target_follows_the_student_and_is_what_is_kept(task, encoder):
    assert task.encoder is encoder
    before = copy.deepcopy(encoder.state_dict())
    with torch.no_grad():
        for parameter in task.student_encoder.blocks.parameters():
            parameter.add_(1.0)
    task.before_step(0.0)
    name = "blocks.0.attn.qkv.weight"
    moved = encoder.state_dict()[name] - before[name]
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - SETTINGS.momentum), rtol=1e-3, atol=1e-6)
    still = copy.deepcopy(encoder.state_dict())
    task.before_step(1.0)  # momentum has risen to 1
    assert all(torch.equal(value, still[key]) for key, value in encoder.state_dict().items())


def test_the_student_and_the_predictor_learn_and_nothing_else(task, images):
    task(*views_of(task, images))["loss"].backward()
    learning = {name for name, p in task.named_parameters() if p.requires_grad}
    assert {name for name, p in task.named_parameters() if p.grad is not None} == learning
    assert all(name.startswith(("student_encoder.", "predictor.")) for name in learning)
    names = {id(p): name for name, p in task.named_parameters()}
    groups = parameter_groups(task, weight_decay=0.1, layer_decay=None)
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert "predictor.pixels.weight" in decayed and "predictor.mask_token" not in decayed


def test_the_loss_falls(task, images):
    losses = losses_of_training(task, lambda step: views_of(task, images, seed=step))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_loss_of_a_batch_is_the_mean_of_its_parts(task, images):
    views = views_of(task, images)
    parts = [task(*each)["loss"] for each in zip(*(view.split(8) for view in views), strict=True)]
    assert task.separable
    torch.testing.assert_close(torch.stack(parts).mean(), task(*views)["loss"])
