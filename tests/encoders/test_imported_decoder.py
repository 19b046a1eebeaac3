"""The decoder in whole files of MAE, against the original written out."""

from pathlib import Path

import pytest
import torch

from stages.encoders.decoder import load_decoder
from stages.encoders.imported_decoder import open_decoder
from stages.objectives.imported import published
from stages.study.errors import StudyError
from stages.study.settings import Arm
from tests.encoders import originals
from tests.encoders.originals import HEADS, SIZE, WIDTH, Encoder, MaeDecoder


def written(directory, change=lambda weights: None, content=originals.mae):
    file = content(originals.filled(Encoder()))
    change(file["model"])
    return originals.save(file, directory / "mae_visualize.pth")


def test_it_computes_as_the_original_does(tmp_path):
    decoder = open_decoder(written(tmp_path))
    generator = torch.Generator().manual_seed(0)
    order = torch.stack([torch.randperm(16, generator=generator) for _ in range(3)])
    visible, latent = order[:, :4], torch.randn(3, 5, WIDTH, generator=generator)
    with torch.no_grad():
        tokens, pixels = originals.filled(MaeDecoder(), seed=1)(latent, order.argsort(dim=1))
        for value, expected in zip(decoder.tokens(latent, visible), tokens, strict=True):
            torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(decoder(latent, visible), pixels, atol=1e-5, rtol=1e-5)
    assert not decoder.training


def test_an_encoder_alone_has_none(tmp_path):
    assert open_decoder(written(tmp_path, content=originals.mae_encoder_alone)) is None


def test_positions_are_resampled_with_those_of_the_encoder(tmp_path):
    arm = Arm(objective="imported", format="mae", weights=str(written(tmp_path)), heads=HEADS)
    for size in (SIZE, 48):
        opened = published(arm, image_size=size)
        grid = size // 8
        decoder = open_decoder(Path(arm.weights), image_size=size)
        assert opened.encoder.pos_embed.shape[1] == len(decoder.positions) == grid**2 + 1
        assert set(opened.artifacts.files) == {"decoder"}
        opened.artifacts.files["decoder"](tmp_path)
        again = load_decoder(tmp_path)
        encoded, every = torch.randn(2, grid**2 + 1, WIDTH), torch.arange(grid**2).expand(2, -1)
        torch.testing.assert_close(again(encoded, every), decoder(encoded, every), rtol=0, atol=0)
    torch.testing.assert_close(decoder.positions[0], open_decoder(written(tmp_path)).positions[0])


def test_resampled_positions_stay_where_they_were(tmp_path):
    def place(weights):
        row, column = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
        for name in ("pos_embed", "decoder_pos_embed"):
            weights[name][0, 1:, 0], weights[name][0, 1:, 1] = row.flatten(), column.flatten()

    path = written(tmp_path, place)
    arm = Arm(objective="imported", format="mae", weights=str(path), heads=HEADS)
    encoder = published(arm, image_size=48).encoder
    for positions in (encoder.pos_embed[0], open_decoder(path, image_size=48).positions):
        rows, columns = positions[1:, :2].detach().T.reshape(2, 6, 6)
        for grid in (rows, columns.T):  # equal along an axis, and rising along the other
            torch.testing.assert_close(grid, grid[:, :1].expand(6, 6), atol=1e-4, rtol=0)
            assert (grid[:, 0].diff() > 0.3).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("decoder_blocks.1.attn.qkv.bias"), "missing: decoder_blocks.1.attn.qkv.bias"),
        (lambda w: w.pop("decoder_pred.weight"), "missing: decoder_pred.weight"),
        (lambda w: w.update({"decoder_blocks.0.gate": torch.ones(1)}), "unknown: decoder_blocks.0.gate"),
        (lambda w: w.update({"decoder_norm.bias": torch.ones(7)}), r"decoder_norm.bias is \(7,\)"),
        (lambda w: w.update({"decoder_pos_embed": torch.ones(1, 16, 32)}), "15 positions"),
    ],
)
def test_keys_that_do_not_fit_are_named(tmp_path, change, message):
    path = written(tmp_path, change)
    with pytest.raises(StudyError, match=message) as error:
        open_decoder(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
