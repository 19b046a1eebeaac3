"""The Fourier measure against closed forms and numpy."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.analyses.fourier import measure, relative_log_amplitude
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

SPLIT = Split(np.zeros((0, 0, 0, 3), dtype=np.uint8), {}, None)  # not read


def test_a_constant_map_has_no_high_frequency():
    amplitude = relative_log_amplitude(torch.full((2, 196, 8), 3.0))
    assert amplitude.shape == (2, 7)
    assert (amplitude[:, 0] == 0).all()
    # All that is left at other frequencies is the constant inside the logarithm (and rounding).
    assert (amplitude[:, 1:] < np.log(1e-3)).all()


def test_white_noise_is_flat_above_frequency_zero():
    noise = torch.randn(64, 196, 64, generator=torch.Generator().manual_seed(0))
    # Frequency 0 is real and the others complex: the mean logarithms differ by that of a chi and a Rayleigh.
    assert (relative_log_amplitude(noise).mean(0)[1:] - np.log(2) / 2).abs().max() < 0.05


def test_a_diagonal_wave_shows_at_its_own_frequency():
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    wave = 1 + torch.cos(2 * torch.pi * 2 * (rows + columns) / 8)  # bin 2 on the diagonal
    amplitude = relative_log_amplitude(wave.reshape(1, 64, 1))[0]
    # A cosine of amplitude 1 beside a mean of 1 has half the weight of the mean.
    assert amplitude[2].item() == pytest.approx(np.log(0.5), abs=1e-4)
    assert amplitude[1] < -10 and amplitude[3] < -10


@given(st.integers(1, 4), st.integers(2, 9), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_it_is_numpys_transform_of_each_channel(batch, grid, width):
    tokens = torch.randn(batch, grid * grid, width, generator=torch.Generator().manual_seed(grid)).double()
    maps = tokens.numpy().reshape(batch, grid, grid, width)
    spectrum = np.log(np.abs(np.fft.fft2(maps, axes=(1, 2))) + 1e-6)
    # The authors roll by half the side and read the diagonal from the middle; after the roll by h//2 the
    # middle is frequency 0 for even and odd sides alike.
    rolled = np.roll(spectrum, (grid // 2, grid // 2), axis=(1, 2)).mean(-1)
    diagonal = np.stack([np.diag(one)[grid // 2 :] for one in rolled])
    expected = diagonal - diagonal[:, :1]
    ours = relative_log_amplitude(tokens)
    assert ours.shape == (batch, grid - grid // 2)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-9)


def test_bfloat16_keeps_the_meaning():
    tokens = torch.randn(3, 64, 32, generator=torch.Generator().manual_seed(2)) + 1
    amplitudes = relative_log_amplitude(tokens.bfloat16())
    assert amplitudes.dtype == torch.float32
    torch.testing.assert_close(amplitudes, relative_log_amplitude(tokens), rtol=0, atol=0.02)


def test_scale_does_not_matter():
    tokens = torch.randn(3, 64, 16, generator=torch.Generator().manual_seed(1)) + 1
    torch.testing.assert_close(
        relative_log_amplitude(tokens), relative_log_amplitude(100 * tokens), rtol=1e-3, atol=1e-3
    )


def test_tokens_that_make_no_square_are_refused():
    with pytest.raises(ValueError, match="15 patches"):
        relative_log_amplitude(torch.zeros(1, 15, 4))


def test_the_table_names_frequencies_in_units_of_pi():
    tokens = [torch.randn(2, 1 + 196, 4) for _ in range(3)]
    table = next(
        iter(
            measure(
                [(torch.tensor([4, 8]), DeepTrace(tokens, [], 1, [], []))],
                settings=AnalysisSettings(images=2),
                patch_size=16,
                split=SPLIT,
            )
        )
    )
    assert table["frequency"].tolist()[:6] == pytest.approx([i / 7 for i in range(1, 7)], abs=1e-6)
    assert table["block"].unique().tolist() == [0]
    assert len(table) == 2 * 6


def test_the_table_holds_encoder_and_decoder_block_by_block():
    generator = torch.Generator().manual_seed(3)
    tokens = [torch.randn(2, 2 + 16, 4, generator=generator) for _ in range(3)]
    decoded = [torch.randn(2, 1 + 25, 6, generator=generator) for _ in range(2)]  # its one class token
    trace = DeepTrace(tokens, [], 2, [], [], decoded)
    settings = AnalysisSettings(images=2)
    table = pd.concat(measure([(torch.tensor([4, 8]), trace)], settings=settings, patch_size=4, split=SPLIT))
    assert list(table.columns) == ["image", "part", "block", "frequency", "log_amplitude"]
    for part, blocks, prefix in (("encoder", tokens, 2), ("decoder", decoded, 1)):
        for block, of_block in enumerate(blocks):
            rows = table[(table["part"] == part) & (table["block"] == block)]
            expected = relative_log_amplitude(of_block[:, prefix:])[:, 1:]
            bins = expected.shape[1]
            assert rows["image"].tolist() == [4] * bins + [8] * bins
            np.testing.assert_allclose(rows["log_amplitude"], expected.flatten())
            grid = {"encoder": 4, "decoder": 5}[part]
            np.testing.assert_allclose(rows["frequency"], [2 * k / grid for k in range(1, bins + 1)] * 2)
    assert len(table) == 2 * (3 * 1 + 2 * 2)
