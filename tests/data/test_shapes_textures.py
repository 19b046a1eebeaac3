"""The built-in images: both labels are there to be seen, and nothing else tells them."""

import importlib.metadata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import dilation, erosion
from sklearn.linear_model import RidgeClassifier

from stages.data import templates as templates_module
from stages.data.settings import ShapesTextures
from stages.data.shapes_textures import Batch, draw, generate, labels_of
from stages.data.templates import PHOTOGRAPHS, SHAPES, TEXTURES, half_sheet, make_templates, outline

PLAIN = ShapesTextures(
    train_images=1,
    test_images=1,
    size_min=0.52,
    size_max=0.62,
    rotation=15,
    shift=0.05,
    colour=0,
    clutter=0,
    contrast=0.35,
    texture_contrast=0.16,
)


def images(split="train", count=200, *, image_size=32, seed=0, **changes):
    params = ShapesTextures.model_validate(PLAIN.model_dump() | changes)
    parts = list(generate(split, count=count, image_size=image_size, seed=seed, params=params))
    return Batch(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def plain():
    return images(count=1000)


@pytest.fixture(scope="module")
def small():
    return make_templates("train", image_size=16)


def core(masks, depth=1):
    """Pixels that lie wholly inside (depth > 0) or wholly outside (depth < 0) the objects."""
    side = 2 * abs(depth) + 1
    square = np.ones((1, side, side), dtype=bool)
    return erosion(masks, square) if depth > 0 else ~dilation(masks, square)


def test_kinds_and_ranges(plain):
    assert plain.images.shape == (1000, 32, 32, 3) and plain.images.dtype == np.uint8
    assert plain.masks.shape == (1000, 32, 32) and plain.masks.dtype == np.bool_
    assert plain.shape.dtype == plain.texture.dtype == np.int64


def test_the_same_twice_and_more_keeps_the_first(plain):
    assert same(images(count=130), [array[:130] for array in plain])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=9))
def test_an_image_depends_on_its_index_alone(small, indices):
    arguments = {"split": "train", "seed": 1, "params": PLAIN, "templates": small}
    together = draw(np.array(indices), **arguments)
    apart = [draw(np.array([index]), **arguments) for index in indices]
    assert same(together, [np.concatenate(arrays) for arrays in zip(*apart, strict=True)])


def test_seed_and_split_change_the_images(plain):
    for other in (images(count=100, seed=1), images("test", count=100)):
        assert not (other.images == plain.images[:100]).all(axis=(1, 2, 3)).any()
        assert not np.array_equal(other.shape, plain.shape[:100])


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_hundred_images_hold_every_combination_once(split):
    shape, texture = labels_of(np.arange(500), seed=3, split=split)
    for start in range(0, 500, 100):
        block = slice(start, start + 100)
        assert len(set(zip(shape[block], texture[block], strict=True))) == 100
    assert not np.array_equal(shape[:100], shape[100:200])


def test_the_mask_is_the_object(plain):
    grey = plain.images[..., 0].astype(float)
    outside, inside = core(plain.masks, -1), core(plain.masks, 1)
    for image, out, within in zip(grey, outside, inside, strict=True):
        # The ground is plain, so what differs is the object; only its finest tips may lie beyond its mask.
        assert (image[out] == image[0, 0]).mean() > 0.98
        assert abs(image[within].mean() - image[out].mean()) > 0.3 * 255


def test_objects_are_light_and_dark_alike(plain):
    lighter = [
        image[..., 0][mask].mean() > image[0, 0, 0]
        for image, mask in zip(plain.images, plain.masks, strict=True)
    ]
    assert 0.44 < np.mean(lighter) < 0.56


@pytest.mark.parametrize("rotation", [0, 15])
def test_the_frame_cuts_no_object_off(rotation):
    sample = images(count=100, image_size=128, size_min=0.62, size_max=0.62, shift=0.3, rotation=rotation)
    pixels = sample.masks.sum(axis=(1, 2))
    assert pixels == pytest.approx(np.pi / 4 * (0.62 * 128) ** 2, rel=0.035)
    rows, columns = (sample.masks.any(axis=axis) for axis in (2, 1))
    assert rows[:, 1].any() and rows[:, -2].any() and columns[:, 1].any() and columns[:, -2].any()


def test_area_does_not_tell_the_shape(plain):
    area = plain.masks.mean(axis=(1, 2))
    means = [area[plain.shape == shape].mean() for shape in range(10)]
    assert np.ptp(means) < 0.1 * np.mean(means)
    assert np.mean(means) == pytest.approx(np.pi / 4 * 0.57**2, rel=0.03)


def test_brightness_and_contrast_do_not_tell_the_texture(plain):
    grey = plain.images[..., 0] / 255
    stats = np.array([(g[m].mean(), g[m].std()) for g, m in zip(grey, plain.masks, strict=True)])
    for texture in range(10):
        mean, deviation = stats[plain.texture == texture].mean(axis=0)
        assert mean == pytest.approx(0.5, abs=0.03)
        assert deviation == pytest.approx(0.16, abs=0.025)


def accuracy(features, labels, train=700):
    flat = features.reshape(len(features), -1)
    model = RidgeClassifier(alpha=30).fit(flat[:train], labels[:train])
    return model.score(flat[train:], labels[train:])


def test_pixels_do_not_tell_the_labels_but_structure_does(plain):
    grey = plain.images[..., 0] / 255.0
    assert accuracy(grey, plain.shape) < 0.5
    assert accuracy(grey, plain.texture) < 0.3
    assert accuracy(abs(grey - grey[:, :1, :1]), plain.shape) > 0.85
    patches = grey.reshape(-1, 4, 8, 4, 8).transpose(0, 1, 3, 2, 4)
    spectra = np.log(np.abs(np.fft.rfft2(patches)).mean(axis=(1, 2)) + 1e-2)
    assert accuracy(spectra, plain.texture) > 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_have_one_area_and_are_centred(shape):
    polygon = outline(shape)
    assert abs(polygon.max(axis=0) + polygon.min(axis=0)).max() < 1e-9
    assert abs(polygon).max() < 1  # the border of its template stays empty
    drawn = templates_module.filled(polygon).mean() * 4
    assert drawn == pytest.approx(np.pi / 4, rel=0.01)


def test_photographs_come_with_the_scikit_image_wheel():
    shipped = {str(path) for path in importlib.metadata.files("scikit-image") or []}
    assert {f"skimage/data/{file}" for file, _ in PHOTOGRAPHS.values()} <= shipped


@pytest.mark.parametrize("texture", PHOTOGRAPHS)
def test_no_split_sees_the_other_half_of_a_photograph(texture, monkeypatch):
    whole = templates_module.photograph(texture)
    before = half_sheet(texture, scale=128, left=True), half_sheet(texture, scale=128, left=False)
    changed = whole.copy()
    changed[:, whole.shape[1] // 2 :] = whole[:, whole.shape[1] // 2 :][::-1]
    monkeypatch.setattr(templates_module, "photograph", lambda texture: changed)
    after = half_sheet(texture, scale=128, left=True), half_sheet(texture, scale=128, left=False)
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])


def test_sheets_are_equally_bright_and_large_enough_for_any_rotation():
    for split in ("train", "test"):
        templates = make_templates(split, image_size=32)
        # The corners of an image turned by 45 degrees, magnified least.
        assert templates.sizes[len(SHAPES) :].min() > 2**0.5 * templates.sheet_scale / 0.85
        for number in range(len(SHAPES), len(SHAPES) + len(TEXTURES)):
            sheet = templates.values[templates.starts[number] :][: templates.sizes[number].prod()]
            assert sheet.mean() == pytest.approx(0, abs=0.15)
            assert sheet.std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("image_size", [16, 48, 224])
def test_other_sizes_show_the_same_objects(image_size):
    sample, reference = images(count=2, image_size=image_size), images(count=2)
    assert sample.images.shape == (2, image_size, image_size, 3)
    assert np.array_equal(sample.shape, reference.shape)
    assert sample.masks.mean(axis=(1, 2)) == pytest.approx(reference.masks.mean(axis=(1, 2)), rel=0.1)


def test_colour_changes_hues_only():
    grey, coloured = images(count=50), images(count=50, colour=1)
    assert (grey.images == grey.images[..., :1]).all()
    assert np.array_equal(grey.masks, coloured.masks)
    spread = np.ptp(coloured.images.astype(int), axis=-1).mean(axis=(1, 2))
    assert (spread > 20).mean() > 0.9
    difference = coloured.images.mean(axis=-1) - grey.images[..., 0]
    assert abs(difference).max() <= 1


def test_clutter_changes_the_background_only():
    plain, cluttered = images(count=50), images(count=50, clutter=1)
    inside, outside = core(plain.masks, 2), core(plain.masks, -1)
    assert np.array_equal(plain.masks, cluttered.masks)
    assert np.array_equal(plain.images[inside], cluttered.images[inside])
    deviations = [image[..., 0][out].std() for image, out in zip(cluttered.images, outside, strict=True)]
    assert np.median(deviations) > 0.08 * 255
    changed = (plain.images != cluttered.images).any(axis=-1)[outside].mean()
    assert changed > 0.8


@settings(max_examples=25, deadline=None)
@given(
    st.builds(
        ShapesTextures,
        train_images=st.just(1),
        test_images=st.just(1),
        size_min=st.floats(0.02, 0.5),
        size_max=st.floats(0.5, 1),
        rotation=st.floats(0, 180),
        shift=st.floats(0, 0.5),
        colour=st.floats(0, 1),
        clutter=st.floats(0, 1),
        contrast=st.floats(0, 0.5),
        texture_contrast=st.floats(0.01, 0.5),
    )
)
def test_all_that_params_yaml_allows_can_be_drawn(small, params):
    batch = draw(np.arange(6), split="train", seed=0, params=params, templates=small)
    assert batch.images.shape == (6, 16, 16, 3)
    assert np.isfinite(batch.images).all() and batch.images.std() > 0


def test_labels_are_spread_evenly(plain):
    assert set(Counter(plain.shape.tolist()).values()) == {100}
    assert set(Counter(plain.texture.tolist()).values()) == {100}
