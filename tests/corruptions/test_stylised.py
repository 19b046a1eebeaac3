"""Stylised images: the statistics of a filter bank are the style's, the layout is the content's."""

import numpy as np
import pytest
import torch

from stages.corruptions import stylised
from stages.corruptions.settings import CorruptionSettings
from stages.corruptions.stylised import filter_bank, filtered
from stages.study.errors import StudyError
from stages.study.seeds import Draws

SETTINGS = CorruptionSettings(levels=[1.0], cycles=8.0)


def draws(batch, seed=0):
    return Draws(torch.Generator().manual_seed(seed), batch=batch)


def apply(images, level=1.0, seed=0):
    return stylised.corrupt(
        images, level=level, settings=SETTINGS, masks=None, draws=draws(len(images), seed=seed)
    )


def discs(size=32):
    """A dark disc with fine vertical stripes on grey, and noise on grey."""
    place = torch.arange(size) - size / 2 + 0.5
    disc = (torch.hypot(place[:, None], place) < size / 3).float()
    stripes = 0.5 - 0.3 * disc + 0.1 * disc * (-1) ** torch.arange(size)
    noise = 0.5 + 0.1 * torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    return torch.stack([stripes, noise])[:, None].expand(-1, 3, -1, -1).contiguous(), disc


@pytest.mark.parametrize(("size", "cutoff"), [(32, 0.375), (64, 0.19), (17, 0.9), (8, 2.0)])
def test_the_filters_of_the_bank_add_up_to_an_image(size, cutoff):
    coarse, bands = filter_bank(size, cutoff=cutoff)
    torch.testing.assert_close(coarse.square() + bands.square().sum(dim=0), torch.ones(size, size))
    radius = np.hypot(*np.meshgrid(*2 * [2 * np.fft.fftfreq(size)]))
    assert (coarse.numpy()[radius <= cutoff / 2] > 1 - 1e-6).all()
    assert (coarse.numpy()[radius >= cutoff] < 1e-3).all()
    image = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0))
    parts = filtered(filtered(image, bands), bands).sum(dim=1) + filtered(image, coarse.square())[0]
    torch.testing.assert_close(parts[0], image[0, 0], atol=1e-5, rtol=0)


def test_the_statistics_of_each_band_are_those_of_the_style():
    images = 0.5 + 0.1 * torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    images[::2] *= torch.linspace(0.5, 1.5, 32)  # half of them vary more on one side
    images[1::2, :, :, ::4] += 0.3  # half of them are striped
    styles = images.roll(-1, dims=0)
    phases = torch.fft.fft2(torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(4))).angle()
    changed = stylised.stylised(images, styles, phases=phases, cutoff=0.375)
    coarse, bands = filter_bank(32, cutoff=0.375)
    result, target, before = (filtered(x[:, :, None], bands) for x in (changed, styles, images))
    fine = slice(4, None)  # of the lowest ring, a part is the content's
    torch.testing.assert_close(result.mean(dim=(-2, -1)), target.mean(dim=(-2, -1)), atol=1e-4, rtol=0)
    ratio = result.std(dim=(-2, -1)) / target.std(dim=(-2, -1))
    at_first = before.std(dim=(-2, -1)) / target.std(dim=(-2, -1))
    off, off_at_first = (x.log().abs()[:, :, fine].mean() for x in (ratio, at_first))
    assert off < 0.06 and off < off_at_first / 2
    # What stays as it is: everything below half of the cutoff.
    passband = (coarse > 1 - 1e-6).float()
    torch.testing.assert_close(filtered(changed, passband), filtered(images, passband), atol=1e-5, rtol=0)


def test_the_layout_stays_and_the_texture_goes():
    images, disc = discs()
    changed = apply(images)[0, 0]
    inside = changed[disc > 0].mean() - changed[disc == 0].mean()
    assert inside == pytest.approx(-0.3, abs=0.05)  # without stripes the disc is .3 darker
    assert np.corrcoef(changed.flatten(), -disc.flatten())[0, 1] > 0.75
    stripes = (-1.0) ** torch.arange(32)
    assert (images[0, 0] * stripes * disc).sum() / disc.sum() == pytest.approx(0.1, abs=0.02)
    assert abs((changed * stripes * disc).sum() / disc.sum()) < 0.03


def test_pictures_are_the_seeds_and_a_level_is_a_share():
    images, _ = discs()
    whole = apply(images)
    assert torch.equal(whole, apply(images)) and not torch.equal(whole, apply(images, seed=1))
    assert whole.min() >= 0 and whole.max() <= 1
    assert (apply(images, 0.5) - images).abs().sum() < (whole - images).abs().sum()
    with pytest.raises(ValueError, match="2 is above 1"):
        apply(images, 2.0)
    bare = CorruptionSettings(levels=[1.0])
    with pytest.raises(StudyError, match=r"robustness\.corruptions\.stylised\.cycles is None"):
        stylised.corrupt(images, level=1.0, settings=bare, masks=None, draws=draws(2))
