"""Each corruption against a plain loop or a closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.corruptions import amplitude_exchange, edges, frequency_noise, patch_shuffle, silhouette
from stages.corruptions.frequency_noise import frequency_band
from stages.corruptions.settings import CorruptionSettings
from stages.study.errors import StudyError
from stages.study.seeds import Draws

SETTINGS = CorruptionSettings(levels=[1.0], width=0.1, amplitudes=[0.07])


def draws(batch, seed=0):
    return Draws(torch.Generator().manual_seed(seed), batch=batch)


def apply(module, images, level, masks=None, seed=0):
    return module.corrupt(
        images, level=level, settings=SETTINGS, masks=masks, draws=draws(len(images), seed=seed)
    )


def pictures(batch=4, size=32):
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("level", [0.1, 0.3, 0.6, 1.0, 1.4, 1.42])
def test_noise_has_its_energy_and_none_outside_its_band(level):
    images = pictures()
    noise = apply(frequency_noise, images, level) - images
    torch.testing.assert_close(noise.square().mean(dim=(1, 2, 3)).sqrt(), torch.full((4,), 0.07))
    spectrum = np.abs(np.fft.fft2(noise.double().numpy()))
    for row in range(32):
        for column in range(32):
            # 16 cycles in 32 px are the highest frequency, π.
            radius = np.hypot(min(row, 32 - row), min(column, 32 - column)) / 16
            if not level - 0.1 < round(radius, 9) <= round(level, 9):
                assert spectrum[..., row, column].max() < 1e-3
    assert spectrum.max() > 1


def test_every_band_up_to_the_highest_has_frequencies_and_no_two_share_one():
    bands = torch.stack([frequency_band(32, low=(k - 1) / 10, high=k / 10) for k in range(1, 16)])
    assert (bands.sum(dim=(1, 2)) > 0).all() and (bands.sum(dim=0).flatten()[1:] == 1).all()  # corners too
    assert bands[:, 0, 0].sum() == 0
    with pytest.raises(ValueError, match=r"8 px have no frequency between 0\.4 and 0\.45 π"):
        frequency_band(8, low=0.4, high=0.45)


def test_noise_differs_from_image_to_image_and_is_the_seeds():
    images = pictures()
    noise = apply(frequency_noise, images, 0.5) - images
    assert (noise[0] - noise[1]).abs().max() > 0.01
    assert torch.equal(apply(frequency_noise, images, 0.5), apply(frequency_noise, images, 0.5))
    assert not torch.equal(apply(frequency_noise, images, 0.5), apply(frequency_noise, images, 0.5, seed=1))


@given(tiles=st.sampled_from([1, 2, 3, 6]), tile=st.integers(1, 4), batch=st.integers(1, 3))
def test_tiles_move_as_wholes(tiles, tile, batch):
    size = tiles * tile
    images = torch.arange(batch * 3 * size * size).reshape(batch, 3, size, size).float()
    shuffled = apply(patch_shuffle, images, tiles)

    def cut(image):
        return sorted(
            tuple(image[:, r : r + tile, c : c + tile].flatten().tolist())
            for r in range(0, size, tile)
            for c in range(0, size, tile)
        )

    for before, after in zip(images, shuffled, strict=True):
        assert cut(before) == cut(after)


def test_images_are_shuffled_apart_and_uneven_tiles_are_refused():
    same = torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1)
    first, second = apply(patch_shuffle, same, 4)
    assert not torch.equal(first, second)
    with pytest.raises(ValueError, match="cannot be cut into 5 × 5 tiles"):
        apply(patch_shuffle, same, 5)


def test_phases_stay_and_amplitudes_are_the_next_images():
    # Halfway grey with a little of each frequency, so that nothing is clipped.
    images = 0.5 + 0.02 * (pictures() - 0.5)
    changed = apply(amplitude_exchange, images, 1.0).double().numpy()
    source, result = np.fft.fft2(images.double().numpy()), np.fft.fft2(changed)
    other = np.roll(np.abs(source), -1, axis=0)
    other[..., 0, 0] = np.abs(source)[..., 0, 0]
    np.testing.assert_allclose(np.abs(result), other, atol=1e-4)
    np.testing.assert_allclose(
        np.exp(1j * np.angle(result))[..., 1:, 1:], np.exp(1j * np.angle(source))[..., 1:, 1:], atol=0.01
    )
    torch.testing.assert_close(apply(amplitude_exchange, images, 0.0), images, atol=1e-6, rtol=0)


def test_edges_are_where_sobel_of_scikit_image_has_them():
    filters = pytest.importorskip("skimage.filters")
    image = pictures(1)
    result = apply(edges, image, 1.0)[0, 0].numpy()
    grey = np.einsum("chw,c->hw", image[0].numpy(), [0.2989, 0.587, 0.114])
    steepness = filters.sobel(np.pad(grey, 1, mode="edge"))[1:-1, 1:-1]
    np.testing.assert_allclose(result, 1 - steepness / steepness.max(), atol=1e-4)
    assert torch.equal(apply(edges, torch.full((1, 3, 8, 8), 0.3), 1.0), torch.ones(1, 3, 8, 8))


def test_silhouettes_are_the_masks():
    masks = torch.rand(2, 8, 8) < 0.5
    result = apply(silhouette, pictures(2, 8), 1.0, masks=masks)
    assert torch.equal(result == 0, masks[:, None].expand(-1, 3, -1, -1)) and result.max() == 1
    assert silhouette.CORRUPTION.needs_masks


@pytest.mark.parametrize("module", [amplitude_exchange, edges, silhouette])
def test_more_than_all_of_it_is_refused(module):
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match="2 is above 1"):
        module.corrupt(torch.zeros(2, 3, 8, 8), level=2.0, settings=SETTINGS, masks=masks, draws=None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"width": "wide"}, "width is 'wide'"), ({"amplitudes": None}, "amplitudes is missing")],
)
def test_noise_without_a_width_or_a_strength_names_the_key(changes, words):
    settings = SETTINGS.model_copy(update=changes)
    with pytest.raises(StudyError, match=f"robustness.corruptions.frequency_noise.{words}"):
        frequency_noise.corrupt(torch.zeros(2, 3, 8, 8), level=1.0, settings=settings, masks=None, draws=None)


@pytest.mark.parametrize("level", [0.5, 1.5])
def test_tiles_are_counted_whole(level):
    with pytest.raises(ValueError, match="cannot be cut"):
        patch_shuffle.corrupt(torch.zeros(2, 3, 8, 8), level=level, settings=SETTINGS, masks=None, draws=None)
