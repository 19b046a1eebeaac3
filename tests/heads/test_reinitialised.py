"""An encoder that loses one block: what is put back, and that the rest stays."""

import torch

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.encoders.vit import pooled_features, save_encoder
from stages.heads.reinitialised import initial_encoder, reinitialised
from stages.study.seeds import derive

VIT = Vit(width=16, depth=3, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")


def encoder(seed):
    return build_encoder(vit=VIT, image_size=16, seed=seed).eval()


def means(model, images):
    return pooled_features(model, images)["mean"]


def test_the_initial_encoder_is_the_one_that_training_starts_from(tmp_path):
    save_encoder(tmp_path, encoder(5), vit=VIT, image_size=16, about={"seed": 7})
    started = build_encoder(vit=VIT, image_size=16, seed=derive(7, "init"))
    for value, expected in zip(initial_encoder(tmp_path).parameters(), started.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_an_encoder_that_learnt_nothing_loses_nothing():
    images = torch.randn(4, 3, 16, 16)
    for _, changed in reinitialised(encoder(0), encoder(0)):
        torch.testing.assert_close(means(changed, images), means(encoder(0), images))


def test_only_a_block_that_learnt_something_matters():
    tuned, initial, images = encoder(0), encoder(0), torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        tuned.blocks[1].mlp.fc2.weight.mul_(3)
    before = means(tuned, images)
    apart = {
        block: (means(changed, images) - before).abs().max()
        for block, changed in reinitialised(tuned, initial)
    }
    assert list(apart) == [1, 2, 3]
    assert apart[1] == apart[3] == 0 and apart[2] > 0.01
    torch.testing.assert_close(means(tuned, images), before)  # the encoder itself stays


def test_all_blocks_at_once_would_be_the_initial_blocks():
    tuned, initial, images = encoder(1), encoder(2), torch.randn(2, 3, 16, 16)
    for number, changed in reinitialised(tuned, initial):
        assert torch.equal(
            changed.blocks[number - 1].attn.qkv.weight, initial.blocks[number - 1].attn.qkv.weight
        )
        others = [place for place in range(3) if place != number - 1]
        assert all(
            torch.equal(changed.blocks[i].attn.qkv.weight, tuned.blocks[i].attn.qkv.weight) for i in others
        )
        assert not torch.equal(means(changed, images), means(tuned, images))
