"""One file of any kind becomes the right square of RGB bytes, or is told to be unreadable."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.data.decode import decode, opened
from stages.data.deep import Extremes, Unreadable, common_ranges
from tests.data.pictures import GRADIENT, encoded, photo, png


def decoded(image, size=12, **options):
    return in_range(encoded(image, **options), size=size)


def in_range(content, size=12):
    """The image in the range that fits it alone."""
    result = decode(content, image_size=size)
    if isinstance(result, Extremes):
        result = decode(content, image_size=size, ranges=common_ranges([result]))
    return result


def test_an_rgb_image_of_the_right_size_is_not_touched():
    result = decoded(photo(), format="PNG")
    assert np.array_equal(result.pixels, np.asarray(photo()))
    assert result.converted == ()


def test_the_content_counts_not_the_name():
    assert np.array_equal(decode(png(), image_size=12).pixels, np.asarray(photo()))  # nobody asked for a name


def test_an_open_image_is_as_good_as_a_file():
    assert np.array_equal(decode(photo(), image_size=12).pixels, np.asarray(photo()))


GREY = np.round(255 * GRADIENT).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "options", "mode"),
    [
        (Image.fromarray(GREY), {"format": "PNG"}, "L"),
        (Image.fromarray(np.round(65535 * GRADIENT).astype(np.uint16)), {"format": "PNG"}, "I;16"),
        (Image.fromarray(np.round(65535 * GRADIENT).astype(np.uint16)), {"format": "TIFF"}, "TIFF uint16"),
        (Image.fromarray(np.round(65535 * GRADIENT).astype(np.int32)), {"format": "TIFF"}, "TIFF int32"),
        (
            Image.fromarray(np.round((2**31 - 1) * GRADIENT).astype(np.int32)),
            {"format": "TIFF"},
            "TIFF int32",
        ),
        (Image.fromarray(GRADIENT.astype(np.float32)), {"format": "TIFF"}, "TIFF float32"),
        (Image.fromarray(255 * GRADIENT.astype(np.float32)), {"format": "TIFF"}, "TIFF float32"),
        (Image.fromarray(GREY).convert("P"), {"format": "PNG"}, "P"),
        (Image.fromarray(GREY).convert("LA"), {"format": "PNG"}, "LA"),
        (Image.fromarray(GREY).convert("RGBA"), {"format": "PNG"}, "RGBA"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_every_mode_of_grey_is_the_same_grey(image, options, mode):
    result = decoded(image, **options)
    assert result.converted == (mode,)
    assert abs(result.pixels.astype(int) - GREY[..., None]).max() <= 1


def test_a_bitmap_is_black_and_white():
    result = decoded(Image.fromarray(GREY > 127), format="PNG")
    assert result.converted == ("1",)
    assert np.array_equal(result.pixels[..., 0], np.where(GREY > 127, 255, 0))


def test_cmyk_is_not_inverted():
    result = decoded(Image.new("RGB", (12, 12), (200, 40, 90)).convert("CMYK"), format="JPEG", quality=95)
    assert result.converted == ("CMYK",)
    assert abs(result.pixels.astype(int) - (200, 40, 90)).max() < 12


def test_what_is_transparent_is_mid_grey():
    layer = Image.new("RGBA", (12, 12), (250, 0, 0, 255))
    layer.paste((0, 250, 0, 0), (0, 0, 12, 6))
    pixels = decoded(layer, format="PNG").pixels
    assert (pixels[:6] == 128).all() and (pixels[6:] == (250, 0, 0)).all()


def test_a_palette_may_have_a_transparent_colour():
    image = Image.new("P", (12, 12), 0)
    image.putpalette([255, 255, 255, 10, 20, 30])
    image.paste(1, (0, 0, 12, 6))
    result = decoded(image, format="PNG", transparency=0)
    assert result.converted == ("P",)
    assert (result.pixels[:6] == (10, 20, 30)).all() and (result.pixels[6:] == 128).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_an_image_upright(orientation):
    seen = Image.fromarray(np.repeat(GREY[..., None], 3, axis=2) // np.array([1, 2, 3], np.uint8))
    methods = Image.Transpose
    stored_as = {
        2: methods.FLIP_LEFT_RIGHT, 3: methods.ROTATE_180, 4: methods.FLIP_TOP_BOTTOM, 5: methods.TRANSPOSE,
        6: methods.ROTATE_90, 7: methods.TRANSVERSE, 8: methods.ROTATE_270,
    }  # fmt: skip
    stored = seen.transpose(stored_as[orientation]) if orientation in stored_as else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = decoded(stored, format="PNG", exif=exif)
    assert np.array_equal(result.pixels, np.asarray(seen))
    assert result.converted == (("EXIF",) if orientation > 1 else ())


def test_the_shorter_side_is_scaled_and_the_centre_cut_out():
    wide = Image.new("RGB", (60, 20), (255, 0, 0))
    wide.paste((0, 0, 255), (20, 0, 40, 20))
    pixels = decoded(wide, size=10, format="PNG").pixels
    assert pixels.shape == (10, 10, 3)
    assert (pixels[:, 2:-2] == (0, 0, 255)).all()  # next to the cut, scaling mixes in a little from beyond
    assert (pixels[:, [0, -1], 2] > pixels[:, [0, -1], 0] + 200).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(8, 20), st.integers(0, 255))
def test_any_size_gives_the_size_asked_for_and_keeps_a_plain_colour(width, height, size, level):
    pixels = decoded(Image.new("RGB", (width, height), (level, 0, 255)), size=size, format="PNG").pixels
    assert pixels.shape == (size, size, 3)
    assert (pixels == (level, 0, 255)).all()


def test_scaling_down_is_antialiased():
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (64, 32)))
    pixels = decoded(stripes, size=8, format="PNG").pixels
    assert abs(pixels[2:-2, 2:-2].astype(int) - 127).max() < 16


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_a_file_cut_short_is_unreadable(form):
    whole = encoded(photo(size=(64, 64)), format=form)
    decode(whole, image_size=8)
    with pytest.raises(Unreadable):
        decode(whole[: len(whole) // 2], image_size=8)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_image_is_unreadable(content):
    with pytest.raises(Unreadable):
        decode(content, image_size=8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255), st.sampled_from(["JPEG", "PNG", "GIF", "BMP"]))
def test_a_broken_byte_never_breaks_more_than_the_image(place, value, form):
    content = bytearray(encoded(photo(), format=form))
    content[place % len(content)] = value
    with contextlib.suppress(Unreadable):
        assert decode(bytes(content), image_size=8).pixels.shape == (8, 8, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_too_large_to_be_safe_is_unreadable(monkeypatch):
    monkeypatch.setattr("stages.data.decode.MOST", 100)
    with pytest.raises(Unreadable, match=r"too many pixels: 12 x 12 in [0-9]+ bytes"):
        decode(png(), image_size=8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Unreadable):  # more than twice as many, which PIL refuses
        decode(png(size=(20, 20)), image_size=8)


def test_an_image_of_a_phone_is_read_where_its_library_is():
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    content = encoded(photo(size=(64, 64)).resize((256, 256)), format="HEIF", quality=90)
    result = decode(content, image_size=64)
    assert abs(result.pixels.astype(float) - np.asarray(photo(size=(64, 64)))).mean() < 40
    assert result.converted == ()


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_size_of_a_large_jpeg_is_that_of_its_file(monkeypatch, orientation):
    monkeypatch.setattr("stages.data.decode.MANY", 1000)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo(size=(66, 50)), format="JPEG", exif=exif)
    assert opened(content, image_size=8).size == (33, 25)  # decoded at half its size
    result = decode(content, image_size=8)
    assert result.size == ((50, 66) if orientation == 6 else (66, 50))
    assert result.pixels.shape == (8, 8, 3)
