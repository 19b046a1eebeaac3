"""Views of whole photographs show what stored squares have lost: the sides, and fine structure."""

import numpy as np
import torch
from PIL import Image

from stages.data.arrays import batches
from stages.data.augment import random_resized_crop_flip
from stages.data.decode import decode
from stages.data.photograph_views import boxes_within
from stages.study.seeds import Draws, generator
from tests.data.photograph_store import needs_decoder, store
from tests.data.pictures import encoded

pytestmark = needs_decoder
HEIGHT, WIDTH, SIZE, COUNT = 128, 192, 32, 40  # px, and the number of views


def draws():
    return Draws(generator(0, "test"), batch=COUNT)


def views(store_folder, row, *, scale):
    """Views (n, 3, S, S) of a picture whose rows are all equal: from its photograph, from its square."""
    pixels = np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).round().astype(np.uint8)
    content = encoded(Image.fromarray(pixels), format="PNG")
    photographs = store(store_folder, [content], image_size=SIZE, repeat=COUNT)
    square = torch.tensor(decode(content, image_size=SIZE).pixels).permute(2, 0, 1) / 255
    images = next(batches(photographs, [np.arange(COUNT)])), square.expand(COUNT, -1, -1, -1)
    return [
        random_resized_crop_flip(each, scale_min=scale[0], scale_max=scale[1], draws=draws())
        for each in images
    ]


def boxes(scale):
    """The boxes of the views of the photograph: top, left, height, width (n, 4)."""
    return boxes_within(torch.tensor([[HEIGHT, WIDTH]] * COUNT), scale=scale, draws=draws())


def test_only_views_of_photographs_show_their_sides(tmp_path):
    side = (WIDTH - HEIGHT) // 2  # px, outside the central square
    row = np.full(WIDTH, 255.0)
    row[:side] = row[-side:] = 0
    from_photographs, from_squares = views(tmp_path, row, scale=(0.1, 0.5))
    # The share of a view that lies outside the square is also the darkness of its mean.
    _, left, _, width = boxes((0.1, 0.5)).T
    outside = (side - left).clamp(min=0) + (left + width - (WIDTH - side)).clamp(min=0)
    darkness = 1 - from_photographs.mean(dim=(1, 2, 3))
    torch.testing.assert_close(darkness, outside / width, atol=0.02, rtol=0)
    assert 0.2 < (outside > 0).float().mean() < 0.9
    assert from_squares.min() > 0.9  # only the filter that shrinks the square reaches across its edge


def test_only_small_views_of_photographs_show_stripes_as_narrow_as_a_pixel_of_the_square(tmp_path):
    period = HEIGHT / SIZE  # px; filters that shrink by this factor have no response to it
    scale = (0.05, 0.07)
    from_photographs, from_squares = views(
        tmp_path, 128 + 100 * np.cos(2 * np.pi * (np.arange(WIDTH) + 0.5) / period), scale=scale
    )
    # A triangular filter of a view's pixel, w / S px wide, leaves sinc² of an amplitude.
    per_pixel = boxes(scale)[:, 3] / SIZE / period  # stripes
    assert per_pixel.max() < 0.45  # well below the highest frequency, where contrast depends on the phase
    expected = 100 / 255 * torch.sinc(per_pixel).square() / 2**0.5
    contrast = from_photographs.std(dim=3).mean(dim=(1, 2))
    torch.testing.assert_close(contrast, expected, atol=0.02, rtol=0.05)
    assert from_squares.std(dim=3).max() < 0.01 < 0.1 < contrast.min()
