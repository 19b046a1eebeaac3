"""Augmentations of a batch against torchvision's functions on single images."""

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.data import augment
from stages.data.settings import WeakView
from stages.study.seeds import Draws


@pytest.fixture
def images():
    return torch.rand(6, 3, 16, 24, generator=torch.Generator().manual_seed(0))


FACTORS = torch.tensor([0.3, 0.8, 1.0, 1.2, 1.7, 0.0])


@pytest.mark.parametrize("name", ["adjust_brightness", "adjust_contrast", "adjust_saturation"])
def test_colour_operations_are_torchvisions_with_a_factor_per_image(images, name):
    ours = getattr(augment, name)(images, FACTORS)
    theirs = torch.stack(
        [getattr(reference, name)(i, f.item()) for i, f in zip(images, FACTORS, strict=True)]
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_hue_is_torchvisions_also_where_there_is_none(images):
    images[0] = images[0, :1]  # grey
    images[1, 0] = images[1, 1]  # two equal channels
    factors = torch.tensor([0.3, -0.5, 0.0, 0.1, -0.2, 0.5])
    ours = augment.adjust_hue(images, factors)
    theirs = torch.stack([reference.adjust_hue(i, f.item()) for i, f in zip(images, factors, strict=True)])
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_grey_and_solarize(images):
    theirs = reference.rgb_to_grayscale(images, num_output_channels=3)
    torch.testing.assert_close(augment.rgb_to_grayscale(images), theirs, atol=1e-5, rtol=0)
    torch.testing.assert_close(augment.solarize(images), reference.solarize(images, 0.5))


def test_blur_is_torchvisions_with_a_sigma_per_image(images):
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0, 0.3])
    ours = augment.gaussian_blur(images, sigma, radius=2)
    theirs = torch.stack(
        [reference.gaussian_blur(i, [5, 5], [s.item()] * 2) for i, s in zip(images, sigma, strict=True)]
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_crops_are_torchvisions_with_a_box_per_image(images):
    boxes = torch.tensor(
        [[0, 0, 16, 24], [3, 5, 4, 6], [0, 20, 16, 4], [15, 23, 1, 1], [2, 2, 8, 12], [1, 0, 9, 7]]
    )
    flip = torch.tensor([False, True, False, False, True, True])
    ours = augment.resized_crop(images, boxes, flip=flip)
    for index in range(6):
        theirs = reference.resized_crop(images[index], *boxes[index].tolist(), size=[16, 24], antialias=False)
        theirs = theirs.flip(-1) if flip[index] else theirs
        torch.testing.assert_close(ours[index], theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [4, 7, 12, 32])
def test_crops_of_another_size_are_torchvisions_antialiased(images, size):
    boxes = torch.tensor(
        [[0, 0, 16, 24], [3, 5, 4, 6], [0, 20, 16, 4], [15, 23, 1, 1], [2, 2, 8, 12], [1, 0, 9, 7]]
    )
    flip = torch.tensor([True, False, True, False, False, True])
    ours = augment.resized_crop(images, boxes, flip=flip, size=size)
    for index in range(6):
        box = boxes[index].tolist()
        theirs = reference.resized_crop(images[index], *box, size=[size, size], antialias=True)
        theirs = theirs.flip(-1) if flip[index] else theirs
        torch.testing.assert_close(ours[index], theirs, atol=1e-5, rtol=0)


@given(st.floats(0.05, 1.0), st.integers(8, 64), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_boxes_lie_in_the_image_and_keep_to_their_area(scale_min, size, seed):
    draws = Draws(torch.Generator().manual_seed(seed), batch=64)
    boxes = augment.crop_boxes(size=(size, size), scale=(scale_min, 1.0), draws=draws)
    top, left, height, width = boxes.unbind(1)
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= size).all() and (left + width <= size).all()
    assert ((height * width) >= scale_min * size * size - (height + width)).all()


def test_crops_keep_between_two_shares_of_the_area():
    position = torch.linspace(0, 1, 64).expand(200, 1, 64, 64)  # the range of a crop tells its width
    draws = Draws(torch.Generator().manual_seed(0), batch=200)
    crops = augment.random_resized_crop_flip(position, scale_min=0.2, scale_max=0.4, size=16, draws=draws)
    assert crops.shape == (200, 1, 16, 16)
    width = crops.amax(dim=(1, 2, 3)) - crops.amin(dim=(1, 2, 3))
    assert width.min() > 0.3 and width.max() < (0.4 * 4 / 3) ** 0.5


def test_a_crop_is_blurred_as_the_image_it_is_from():
    crop = torch.zeros(1, 1, 20, 20)
    crop[0, 0, 10, 10] = 1
    alone = augment.random_blur(crop, draws=Draws(torch.Generator().manual_seed(0), batch=1))
    of_large = augment.random_blur(crop, of=224, draws=Draws(torch.Generator().manual_seed(0), batch=1))
    assert alone[0, 0, 10, 10] > 0.9 > of_large[0, 0, 10, 10]
    of_huge = augment.random_blur(crop, of=2240, draws=Draws(torch.Generator().manual_seed(0), batch=1))
    assert of_huge.shape == crop.shape


def test_every_image_gets_its_own_draw_and_the_generator_decides():
    same = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(32, 1, 1, 1)

    def views(seed):
        draws = Draws(torch.Generator().manual_seed(seed), batch=32)
        crops = augment.random_resized_crop_flip(same, scale_min=0.3, draws=draws)
        return augment.color_jitter(crops, strength=1.0, draws=draws)

    assert len({tuple(view.flatten().tolist()) for view in views(0)}) == 32
    torch.testing.assert_close(views(0), views(0), rtol=0, atol=0)
    assert not torch.equal(views(0), views(1))


def test_an_image_is_augmented_the_same_way_in_a_share_of_its_batch():
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def views(rows):
        draws = Draws(torch.Generator().manual_seed(1), batch=8, rows=rows)
        crops = augment.random_resized_crop_flip(images[rows], scale_min=0.3, draws=draws)
        jittered = augment.color_jitter(crops, strength=1.0, draws=draws)
        return augment.with_probability(jittered, crops, 0.5, draws=draws)

    whole = views(slice(0, 8))
    torch.testing.assert_close(torch.cat([views(slice(0, 4)), views(slice(4, 8))]), whole, rtol=0, atol=1e-6)


def test_probability_is_per_image():
    images = torch.zeros(4000, 1, 1, 1)
    draws = Draws(torch.Generator().manual_seed(0), batch=4000)
    changed = augment.with_probability(images + 1, images, 0.2, draws=draws)
    assert changed.mean().item() == pytest.approx(0.2, abs=0.02)


def test_a_weak_view_is_a_crop_and_colours_only_where_they_are_asked_for(images):
    def view(**colours):
        settings = WeakView(**{"crop_scale_min": 0.4, "jitter_strength": 1.0} | colours)
        draws = Draws(torch.Generator().manual_seed(0), batch=len(images))
        return augment.weak_view(images, settings=settings, draws=draws)

    draws = Draws(torch.Generator().manual_seed(0), batch=len(images))
    crop = augment.random_resized_crop_flip(images, scale_min=0.4, draws=draws)
    assert torch.equal(view(jitter_probability=0.0, grey_probability=0.0), crop)
    grey = view(jitter_probability=0.0, grey_probability=1.0)
    assert torch.equal(grey, augment.rgb_to_grayscale(crop))
    jittered = view(jitter_probability=1.0, grey_probability=0.0)
    assert all(not torch.equal(one, other) for one, other in zip(jittered, crop, strict=True))


@pytest.mark.parametrize("colours", ["jitter_probability", "grey_probability"])
def test_a_weak_view_changes_colours_as_often_as_it_is_asked_to(images, colours):
    many = images[:1].expand(2000, -1, -1, -1)

    def view(probability):
        off = {"jitter_probability": 0.0, "grey_probability": 0.0, "jitter_strength": 1.0}
        settings = WeakView(**off | {"crop_scale_min": 1.0, colours: probability})
        draws = Draws(torch.Generator().manual_seed(0), batch=len(many))
        return augment.weak_view(many, settings=settings, draws=draws)

    changed = (view(0.2) != view(0.0)).flatten(1).any(dim=1).float().mean()
    assert changed.item() == pytest.approx(0.2, abs=0.03)


class Ends:
    """Draws that are always an end of their range."""

    def __init__(self, *, high):
        self.high = high

    def uniform(self, *shape, low=0.0, high=1.0):
        return torch.full((2,), high if self.high else low)


@pytest.mark.parametrize("high", [True, False])
def test_jitter_reaches_as_far_as_published(high):
    """MoCo v3: brightness and contrast 0.4, saturation 0.2, hue 0.1."""
    images = 0.2 + 0.4 * torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    sign = 1 if high else -1
    expected = reference.adjust_contrast(reference.adjust_brightness(images, 1 + sign * 0.4), 1 + sign * 0.4)
    expected = reference.adjust_hue(reference.adjust_saturation(expected, 1 + sign * 0.2), sign * 0.1)
    jittered = augment.color_jitter(images, strength=1.0, draws=Ends(high=high))
    torch.testing.assert_close(jittered, expected, atol=2e-5, rtol=0)
