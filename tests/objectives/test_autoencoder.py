"""MAE: what the encoder sees, what the decoder is given, and the loss computed patch by patch."""

import pytest
import torch

from stages.encoders.architecture import build_encoder, sincos_positions
from stages.encoders.settings import Vit
from stages.encoders.vit import embed, encode_visible
from stages.objectives import autoencoder
from stages.study.params import load_params
from stages.study.settings import Arm
from stages.training.loop import parameter_groups
from tests.objectives.descent import losses_of_training
from tests.objectives.reference import layer_norm, patch_tokens, patches_of, run_blocks
from tests.objectives.test_objectives import views_of

VIT = Vit(width=32, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
SETTINGS = load_params().objectives


@pytest.fixture
def task():
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    return autoencoder.build(encoder, arm=Arm(objective="autoencoder"), settings=SETTINGS, seed=0)


@pytest.fixture
def images():
    noise = torch.rand(32, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=16, mode="bilinear")


def test_hidden_patches_change_no_prediction(task, images):
    image, mask = views_of(task, images)
    assert (mask.sum((1, 2)) == 12).all()  # three quarters of 16
    hidden = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None].bool()
    seen = []
    task.decoder.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        task(image, mask)
        task(torch.where(hidden, torch.randn_like(image), image), mask)
        task(torch.where(hidden, image, torch.randn_like(image)), mask)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)
    assert (seen[0] - seen[2]).abs().max() > 0.01


def test_the_loss_is_that_computed_patch_by_patch(task, images):
    image, mask = views_of(task, images[:3])
    encoder, decoder = task.encoder, task.decoder
    width = SETTINGS.autoencoder.decoder_width
    positions = torch.cat([torch.zeros(1, width), sincos_positions(4, width)])
    errors = []
    for picture, hidden in zip(image, mask.flatten(1), strict=True):
        shown = [n for n in range(16) if not hidden[n]]
        embedded = patch_tokens(encoder, picture)
        tokens = torch.stack(
            [encoder.cls_token[0, 0]] + [embedded[n] + encoder.pos_embed[0, 1 + n] for n in shown]
        )
        encoded = layer_norm(run_blocks(encoder.blocks, tokens), encoder.norm)
        entered = encoded @ decoder.embed.weight.T + decoder.embed.bias
        rows = [entered[0]] + [
            entered[1 + shown.index(n)] if n in shown else decoder.mask_token for n in range(16)
        ]
        painted = layer_norm(run_blocks(decoder.blocks, torch.stack(rows) + positions), decoder.norm)
        pixels = painted[1:] @ decoder.pixels.weight.T + decoder.pixels.bias
        for n, patch in enumerate(patches_of(picture, 4)):
            if hidden[n]:
                target = patch.permute(1, 2, 0).flatten()
                target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
                errors.append((pixels[n] - target).square().mean())
    torch.testing.assert_close(task(image, mask)["loss"], torch.stack(errors).mean(), rtol=1e-4, atol=1e-5)


def test_the_decoder_gives_its_tokens_after_each_block(task, images):
    image, mask = views_of(task, images)
    visible = mask.flatten(1).argsort(dim=1, stable=True)[:, :4]
    encoded = encode_visible(task.encoder, embed(task.encoder, image), visible)
    tokens = task.decoder.tokens(encoded, visible)
    settings = SETTINGS.autoencoder
    assert [each.shape for each in tokens] == [(32, 17, settings.decoder_width)] * (
        settings.decoder_depth + 1
    )
    shown = task.decoder.embed(encoded)[0, 1:] + task.decoder.positions[1:][visible[0]]
    torch.testing.assert_close(tokens[0][0, 1:][visible[0]], shown)
    (first_hidden, *_) = mask[0].flatten().nonzero()
    expected = task.decoder.mask_token + task.decoder.positions[1:][first_hidden]
    torch.testing.assert_close(tokens[0][0, 1:][first_hidden], expected)


def test_the_loss_falls(task, images):
    losses = losses_of_training(task, lambda step: views_of(task, images, seed=step))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_loss_of_a_batch_is_the_mean_of_its_parts(task, images):
    image, mask = views_of(task, images)
    parts = [task(i, m)["loss"] for i, m in zip(image.split(8), mask.split(8), strict=True)]
    assert task.separable
    torch.testing.assert_close(torch.stack(parts).mean(), task(image, mask)["loss"])


def test_every_weight_learns_and_the_tokens_do_not_decay(task, images):
    task(*views_of(task, images))["loss"].backward()
    untouched = {name for name, p in task.named_parameters() if p.requires_grad and p.grad is None}
    assert untouched == set()
    names = {id(p): name for name, p in task.named_parameters()}
    groups = parameter_groups(task, weight_decay=0.1, layer_decay=None)
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert "decoder.pixels.weight" in decayed and "decoder.blocks.0.attn.qkv.weight" in decayed
    assert (
        not {"decoder.mask_token", "encoder.cls_token", "decoder.norm.weight", "decoder.embed.bias"} & decayed
    )
    assert not any("pos" in name for name in decayed)
