"""Each objective on a few images: its pieces are the published ones, and its loss falls."""

import copy

import pytest
import torch
from timm.layers import DropPath

from stages.data.arrays import normalize
from stages.data.augment import random_resized_crop_flip, rgb_to_grayscale
from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives import autoencoder, contrastive, dino, hybrid, masked, random
from stages.objectives.losses import masked_l1, mean_of_surroundings
from stages.objectives.masked import random_mask
from stages.study.params import load_params
from stages.study.seeds import Draws
from stages.study.settings import Arm
from tests.objectives.descent import losses_of_training
from tests.objectives.reference import plain_targets

VIT = Vit(width=32, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
SETTINGS = load_params().objectives
MODULES = {"contrastive": contrastive, "masked": masked, "hybrid": hybrid}


def make(name, cl_weight=0.2):
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    arm = Arm(objective=name, cl_weight=cl_weight)
    return MODULES[name].build(encoder, arm=arm, settings=SETTINGS, seed=0)


def draws(batch, seed=0):
    return Draws(torch.Generator().manual_seed(seed), batch=batch)


def views_of(task, images, seed=0):
    return task.views(
        images,
        normalize=lambda view: normalize(view, mean=[0.5] * 3, std=[0.25] * 3),
        draws=draws(len(images), seed),
    )


@pytest.fixture
def images():
    # Smooth random pictures: low-resolution noise enlarged.
    noise = torch.rand(32, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=16, mode="bilinear")


@pytest.mark.parametrize("name", MODULES)
def test_the_loss_falls(name, images):
    task = make(name)
    losses = losses_of_training(task, lambda step: views_of(task, images, seed=step))
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])


def test_random_trains_nothing():
    assert random.OBJECTIVE.build is None and random.OBJECTIVE.opens is None


def test_all_objectives_start_from_the_same_encoder():
    weights = [make(name).encoder.state_dict() for name in MODULES]
    for other in weights[1:]:
        assert all(torch.equal(weights[0][key], other[key]) for key in other)


def test_both_views_at_once_give_the_loss_of_one_after_the_other(images):
    task = make("contrastive")
    first, second = views_of(task, images)
    together = task(first, second)["loss"]
    q = [task.predictor(task.projector(task.encoder(view)[:, 0])) for view in (first, second)]
    with torch.no_grad():
        k = [task.key_projector(task.key_encoder(view)[:, 0]) for view in (first, second)]
    apart = 0.0
    for query, key in ((q[0], k[1]), (q[1], k[0])):
        logits = torch.nn.functional.normalize(query) @ torch.nn.functional.normalize(key).T / 0.2
        apart += 0.4 * (logits.logsumexp(1) - logits.diagonal()).mean()
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-6)


def test_heads_are_those_of_moco_v3():
    task = make("contrastive")

    def kinds(head):
        return [type(layer).__name__ for layer in head]

    assert kinds(task.projector) == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert kinds(task.predictor) == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert not task.projector[-1].affine and not task.predictor[-1].affine
    assert all(
        layer.bias is None for layer in [*task.projector, *task.predictor] if hasattr(layer, "in_features")
    )


def test_the_key_network_follows_and_gets_no_gradient(images):
    task = make("contrastive")
    before = copy.deepcopy(task.key_encoder.state_dict())
    with torch.no_grad():
        for parameter in task.encoder.blocks.parameters():
            parameter.add_(1.0)
    task.before_step(0.0)
    name = "blocks.0.attn.qkv.weight"
    moved = task.key_encoder.state_dict()[name] - before[name]
    torch.testing.assert_close(
        moved, torch.full_like(moved, 1 - SETTINGS.contrastive.momentum), rtol=1e-3, atol=1e-6
    )
    still = copy.deepcopy(task.key_encoder.state_dict()[name])
    task.before_step(1.0)  # momentum has risen to 1
    torch.testing.assert_close(task.key_encoder.state_dict()[name], still, rtol=0, atol=0)
    task(*views_of(task, images))["loss"].backward()
    assert all(p.grad is None for p in [*task.key_encoder.parameters(), *task.key_projector.parameters()])
    assert all(p.grad is None for p in task.encoder.patch_embed.parameters())


def test_views_are_asymmetric(images):
    task = make("contrastive")
    always = SETTINGS.contrastive.model_copy(
        update={
            "solarize_probability": 1.0,
            "blur_probability": 0.0,
            "jitter_probability": 0.0,
            "grey_probability": 0.0,
        }
    )
    task.settings = always
    dark = 0.2 * images  # solarising at 0.5 leaves dark images as they are
    bright = 0.6 + 0.4 * images
    for pictures, second_inverted in ((dark, False), (bright, True)):
        first, second = task.views(pictures, normalize=lambda v: v, draws=draws(len(pictures)))
        assert (first.mean() > 0.5) == (pictures.mean() > 0.5)
        assert ((second.mean() > 0.5) != (pictures.mean() > 0.5)) == second_inverted


@pytest.mark.parametrize("setting", ["blur_probability", "jitter_strength", "grey_probability"])
def test_each_setting_acts_on_its_views(setting):
    task = make("contrastive")
    images = torch.rand(40, 3, 64, 64, generator=torch.Generator().manual_seed(0))  # large enough to blur
    plain = {"solarize_probability": 0.0, "blur_probability": 0.0, "grey_probability": 0.0}
    plain |= {"jitter_probability": 1.0, "jitter_strength": 0.0}

    def views(settings):
        task.settings = SETTINGS.contrastive.model_copy(update=settings)
        return task.views(images, normalize=lambda v: v, draws=draws(len(images), seed=1))

    pairs = zip(views(plain), views(plain | {setting: 1.0}), strict=True)
    first, second = (((a - b).abs().amax(dim=(1, 2, 3)) > 0.01).float().mean() for a, b in pairs)
    if setting == "blur_probability":  # half of the draws are too weak to see
        assert first > 0.4 and second < 0.15
    else:
        assert first > 0.9 and second > 0.9


def test_one_contrastive_weight_leaves_the_projection_alone():
    task = make("hybrid", cl_weight=1.0)
    assert not any(parameter.requires_grad for parameter in task.encoder.patch_embed.parameters())
    assert any(parameter.requires_grad for parameter in task.encoder.blocks.parameters())


def test_the_hybrid_is_the_weighted_sum_and_its_projection_learns_from_masking_alone(images):
    task = make("hybrid", cl_weight=0.3)
    inputs = views_of(task, images)
    losses = task(*inputs)
    expected = 0.7 * losses["masked"] + 0.3 * losses["contrastive"]
    torch.testing.assert_close(losses["loss"], expected)
    losses["loss"].backward()
    gradient = task.encoder.patch_embed.proj.weight.grad.clone()
    alone = make("hybrid", cl_weight=0.3)
    (0.7 * alone.masked(*inputs[2:])["loss"]).backward()
    torch.testing.assert_close(gradient, alone.encoder.patch_embed.proj.weight.grad, rtol=1e-3, atol=1e-7)


def test_masked_patches_cannot_be_seen(images):
    task = make("masked").eval()
    image, mask = views_of(task, images)
    hidden = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None].bool()
    with torch.no_grad():
        seen = []
        task.decoder.register_forward_hook(lambda _, __, output: seen.append(output))
        task(image, mask)
        task(torch.where(hidden, torch.randn_like(image), image), mask)
    torch.testing.assert_close(seen[0], seen[1])


def test_unpatchify_puts_patches_in_place():
    task = make("masked")
    picture = torch.arange(3 * 16 * 16.0).reshape(1, 3, 16, 16)
    patches = picture.reshape(1, 3, 4, 4, 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(1, 16, 48)
    assert torch.equal(task.unpatchify(patches), picture)


@pytest.mark.parametrize(
    ("grid", "unit", "ratio", "hidden"), [(8, 2, 0.6, 40), (14, 2, 0.6, 120), (4, 1, 0.75, 12)]
)
def test_masks_hide_whole_units_and_the_same_number_in_every_image(grid, unit, ratio, hidden):
    mask = random_mask(grid=grid, unit=unit, ratio=ratio, draws=draws(64))
    assert mask.shape == (64, grid, grid)
    assert (mask.sum((1, 2)) == hidden).all()
    cells = mask.reshape(64, grid // unit, unit, grid // unit, unit).transpose(2, 3).flatten(3)
    assert (cells.amin(-1) == cells.amax(-1)).all()
    assert len({tuple(m.flatten().tolist()) for m in mask}) > 40
    assert mask.mean(0).std() < 0.15


@pytest.mark.parametrize("name", ["contrastive", "hybrid"])
def test_the_patch_projection_is_trained_if_it_is_not_to_stay_frozen(name, images):
    trained = SETTINGS.contrastive.model_copy(update={"freeze_patch_embed": False})
    for settings, cl_weight, learns in (
        (SETTINGS, 1.0, False),
        (SETTINGS.model_copy(update={"contrastive": trained}), 1.0, True),
    ):
        task = MODULES[name].build(
            build_encoder(vit=VIT, image_size=16, seed=0),
            arm=Arm(objective=name, cl_weight=cl_weight),
            settings=settings,
            seed=0,
        )
        task(*views_of(task, images))["loss"].backward()
        weight = task.encoder.patch_embed.proj.weight
        assert weight.requires_grad == learns
        assert (weight.grad is not None and bool(weight.grad.abs().sum() > 0)) == learns


def test_only_the_trained_encoder_leaves_blocks_out(images):
    def networks(task):
        return {
            name: sum(isinstance(module, DropPath) for module in network.modules())
            for name, network in task.named_children()
            if "encoder" in name
        }

    def built(module, name):
        encoder = build_encoder(vit=VIT, image_size=16, seed=0, drop_path=0.5)
        return module.build(encoder, arm=Arm(objective=name, cl_weight=0.5), settings=SETTINGS, seed=0)

    assert networks(built(contrastive, "contrastive")) == {"encoder": 2, "key_encoder": 0}
    assert networks(built(hybrid, "hybrid").contrastive) == {"encoder": 2, "key_encoder": 0}
    assert networks(built(dino, "dino")) == {"encoder": 0, "student_encoder": 2}


@pytest.mark.parametrize("module", [masked, autoencoder])
def test_a_view_has_its_colours_changed_only_if_asked(module, images):
    (name,) = module.OBJECTIVE.settings
    plain = getattr(SETTINGS, name)
    grey = plain.model_copy(update={"grey_probability": 1.0, "jitter_probability": 1.0})
    views = {}
    for kind, chosen in (("plain", plain), ("grey", grey)):
        encoder = build_encoder(vit=VIT, image_size=16, seed=0)
        settings = SETTINGS.model_copy(update={name: chosen})
        task = module.build(encoder, arm=Arm(objective=name), settings=settings, seed=0)
        views[kind] = task.views(images, normalize=lambda view: view, draws=draws(len(images)))[0]
    crop = random_resized_crop_flip(images, scale_min=plain.crop_scale_min, draws=draws(len(images)))
    torch.testing.assert_close(views["plain"], crop)
    torch.testing.assert_close(views["grey"][:, 0], views["grey"][:, 2])
    assert not torch.allclose(views["grey"][:, 0], rgb_to_grayscale(crop)[:, 0], atol=0.01)


def follows(task, pairs, *, momentum):
    """Whether one step moves every weight of each slow network towards the fast one, by its momentum."""
    before = [[weight.clone() for weight in slow.parameters()] for slow, _ in pairs]
    with torch.no_grad():
        for _, fast in pairs:
            for weight in fast.parameters():
                weight.add_(1.0)
    task.before_step(0.0)
    for (slow, fast), old in zip(pairs, before, strict=True):
        for weight, towards, start in zip(slow.parameters(), fast.parameters(), old, strict=True):
            torch.testing.assert_close(weight, momentum * start + (1 - momentum) * towards)


@pytest.mark.parametrize("name", ["contrastive", "hybrid"])
def test_the_key_network_follows_with_its_projector(name):
    task = make(name)
    part = task if name == "contrastive" else task.contrastive
    pairs = [(part.key_encoder, part.encoder), (part.key_projector, part.projector)]
    follows(task, pairs, momentum=SETTINGS.contrastive.momentum)


@pytest.mark.parametrize("smallest", [1.0, 0.1])
def test_the_two_views_of_an_image_are_two_crops_of_at_least_the_smallest_area(smallest):
    task = make("contrastive")
    colours = ("jitter", "grey", "blur", "solarize")
    changes = {f"{name}_probability": 0.0 for name in colours} | {"crop_scale_min": smallest}
    task.settings = SETTINGS.contrastive.model_copy(update=changes)
    ramp = torch.linspace(0, 1, 16).expand(64, 3, 16, 16)  # the range of a crop shows its width
    views = task.views(ramp, normalize=lambda view: view, draws=draws(64))
    first, second = (view.amax((1, 2, 3)) - view.amin((1, 2, 3)) for view in views)
    if smallest == 1.0:
        assert min(first.min(), second.min()) > 0.85
    else:
        assert max(first.min(), second.min()) < 0.45
        assert ((first - second).abs() > 0.05).float().mean() > 0.7


@pytest.mark.parametrize("window", [None, 9])
def test_the_loss_to_beat_is_that_of_the_mean_of_the_visible_surroundings(images, window):
    task = make("masked")
    task.settings = SETTINGS.masked.model_copy(update={"target_window": window})
    mask = views_of(task, images)[1]
    target = plain_targets(images, window)
    expected = masked_l1(mean_of_surroundings(target, mask), target, mask)
    torch.testing.assert_close(task(images, mask)["surroundings"], expected, rtol=1e-3, atol=1e-4)
