"""Images of more than 8 bits and of floats: one range for a whole source, and nothing silently black."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from stages.data.decode import decode
from stages.data.deep import REAL, WHOLE, Extremes, Unreadable, common_ranges
from tests.data.pictures import encoded, photo

RAMP = np.linspace(0, 1, 16 * 16).reshape(16, 16)
BYTES = np.round(255 * RAMP)


def tiff(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def png16(values):
    """A PNG of 16 bits with 1 to 4 bands (H, W, C)."""
    height, width, bands = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def stored(content, range_):
    return decode(content, image_size=16, ranges=dict.fromkeys((WHOLE, REAL), range_)).pixels.astype(float)


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        (WHOLE, 3, 200, (0, 255)),
        (WHOLE, 0, 1000, (0, 1023)),
        (WHOLE, 9, 4095, (0, 4095)),
        (WHOLE, 0, 3000, (0, 4095)),
        (WHOLE, 0, 40000, (0, 65535)),
        (WHOLE, 0, 100000, (0, 100000)),
        (WHOLE, 0, 2**32 - 1, (0, 2**32 - 1)),
        (WHOLE, -1000, 3000, (-1000, 3000)),
        (REAL, 0, 0.9, (0, 1)),
        (REAL, 0, 1.0001, (0, 1)),
        (REAL, -1, 1, (-1, 1)),
        (REAL, 0, 255, (0, 255)),
        (REAL, 0, 3.2, (0, 3.2)),
        (REAL, -7, 3, (-7, 3)),
        (REAL, 5000, 5000, (0, 16383)),
        (REAL, -5, -5, (-5, -4)),
    ],
)
def test_the_range_of_a_source(kind, low, high, expected):
    assert common_ranges([Extremes(kind, low, high)]) == {kind: expected}


def test_the_range_is_that_of_all_images_and_of_each_kind():
    images = [
        Extremes(REAL, 0, 0.5),
        Extremes(WHOLE, 0, 90),
        Extremes(REAL, 0.2, 1.0),
        Extremes(WHOLE, 7, 4000),
    ]
    assert common_ranges(images) == {WHOLE: (0, 4095), REAL: (0, 1)}
    assert common_ranges([]) == {}


GREYS = {
    "tiff 12 bit": (tiff(np.round(4095 * RAMP).astype(np.uint16)), (0, 4095)),
    "png 12 bit": (
        encoded(Image.fromarray(np.round(4095 * RAMP).astype(np.uint16)), format="PNG"),
        (0, 4095),
    ),
    "tiff uint32": (tiff(np.round((2**32 - 1) * RAMP).astype(np.uint32)), (0, 2**32 - 1)),
    "tiff int16": (tiff(np.round(4000 * RAMP - 1000).astype(np.int16)), (-1000, 3000)),
    "tiff float16": (tiff(RAMP.astype(np.float16)), (0, 1)),
    "tiff float32": (tiff((2 * RAMP - 1).astype(np.float32)), (-1, 1)),
    "tiff float64": (tiff(RAMP), (0, 1)),
    "tiff big endian": (tiff(np.round(4095 * RAMP).astype(">u2"), byteorder=">"), (0, 4095)),
    "tiff deflate": (tiff(np.round(4095 * RAMP).astype(np.uint16), compression="zlib"), (0, 4095)),
    "tiff lzw": (
        encoded(
            Image.fromarray(np.round(4095 * RAMP).astype(np.uint16)), format="TIFF", compression="tiff_lzw"
        ),
        (0, 4095),
    ),
    "white is lowest": (
        tiff(np.round(4095 * (1 - RAMP)).astype(np.uint16), photometric="miniswhite"),
        (0, 4095),
    ),
}


@pytest.mark.parametrize("name", GREYS)
def test_grey_of_any_depth_is_the_same_grey(name):
    content, range_ = GREYS[name]
    assert abs(stored(content, range_) - BYTES[..., None]).max() <= 1
    first = decode(content, image_size=16)
    assert isinstance(first, Extremes) and range_[0] <= first.low < first.high <= range_[1]


COLOUR = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=-1)
TWELVE = np.round(4095 * COLOUR).astype(np.uint16)
COLOURS = {
    "png": (png16(TWELVE), (0, 4095)),
    "tiff": (tiff(TWELVE, photometric="rgb"), (0, 4095)),
    "tiff of planes": (
        tiff(TWELVE.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"),
        (0, 4095),
    ),
    "tiff float": (tiff(COLOUR.astype(np.float32), photometric="rgb"), (0, 1)),
}


@pytest.mark.parametrize("name", COLOURS)
def test_colours_of_any_depth(name):
    content, range_ = COLOURS[name]
    assert abs(stored(content, range_) - np.round(255 * COLOUR)).max() <= 1


def test_what_is_transparent_in_16_bits_is_mid_grey():
    opaque = np.where(RAMP > 0.5, 65535, 0).astype(np.uint16)[..., None]
    for content in (
        png16(np.concatenate([TWELVE, opaque], axis=2)),
        png16(np.concatenate([TWELVE[..., :1], opaque], axis=2)),
    ):
        pixels = stored(content, (0, 4095))
        assert (pixels[RAMP <= 0.5] == 128).all()
        assert abs(pixels[RAMP > 0.5, 0] - BYTES[RAMP > 0.5]).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_make_an_image_unreadable(value):
    values = RAMP.astype(np.float32)
    values[3, 3] = value
    with pytest.raises(Unreadable, match="NaN or infinite"):
        decode(tiff(values), image_size=16)


@pytest.mark.parametrize("name", ["tiff 12 bit", "tiff float32", "tiff deflate"])
def test_a_deep_file_cut_short_is_unreadable(name):
    content = GREYS[name][0]
    with pytest.raises(Unreadable):
        decode(content[: len(content) * 2 // 3], image_size=16)


def test_many_channels_are_named():
    with pytest.raises(Unreadable, match=r"needs one or three colours, but has values uint16 \(16, 16, 7\)"):
        decode(
            tiff(np.zeros((16, 16, 7), np.uint16), photometric="minisblack", planarconfig="contig"),
            image_size=8,
        )


@pytest.mark.parametrize("planes", [False, True])
def test_an_infrared_band_beside_the_colours_is_not_their_transparency(planes):
    infrared = np.full((16, 16, 1), 3000, np.uint16)
    options = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    values = np.concatenate([TWELVE, infrared], axis=2)
    if planes:
        values, options = values.transpose(2, 0, 1).copy(), options | {"planarconfig": "separate"}
    assert np.array_equal(stored(tiff(values, **options), (0, 4095)), stored(COLOURS["tiff"][0], (0, 4095)))


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_a_band_that_the_file_calls_transparency_is_one(kind):
    opaque = np.where(RAMP > 0.5, 65535, 0).astype(np.uint16)[..., None]
    for values, photometric in ((TWELVE, "rgb"), (TWELVE[..., :1], "minisblack")):
        bands = np.concatenate([values, opaque], axis=2)
        options = {"photometric": photometric, "planarconfig": "contig", "extrasamples": [kind]}
        pixels = stored(tiff(bands, **options), (0, 4095))
        assert (pixels[RAMP <= 0.5] == 128).all()
        assert abs(pixels[RAMP > 0.5, 0] - BYTES[RAMP > 0.5]).max() <= 1


@pytest.mark.parametrize("extra", [["unspecified"], ["unspecified"] * 3, ["unspecified", "unassalpha"]])
def test_bands_that_are_no_colours_are_refused(extra):
    values = np.zeros((16, 16, 1 + len(extra)), np.float32)
    content = tiff(values, photometric="minisblack", planarconfig="contig", extrasamples=extra)
    with pytest.raises(Unreadable, match="needs one or three colours, but has values float32"):
        decode(content, image_size=8)


@pytest.mark.parametrize(
    ("photometric", "bands", "words"),
    [("separated", 4, "CMYK"), ("cielab", 3, "Lab"), ("icclab", 3, "Lab"), ("palette", 1, "palette")],
)
def test_a_deep_colour_space_other_than_rgb_and_grey_is_named(photometric, bands, words):
    values = np.zeros((16, 16, bands) if bands > 1 else (16, 16), np.uint16)
    options = {"colormap": np.zeros((3, 2**16), np.uint16)} if photometric == "palette" else {}
    content = tiff(values, photometric=photometric, **options)
    with pytest.raises(Unreadable, match=f"{words} of more than 8 bits; convert it to RGB"):
        decode(content, image_size=8)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_deep_tiff_is_turned_as_one_of_8_bits_is(orientation):
    tags = [(274, "H", 1, orientation, False)]
    shallow = decode(tiff(BYTES.astype(np.uint8), extratags=tags), image_size=16).pixels
    deep = stored(tiff((257 * BYTES).astype(np.uint16), extratags=tags), (0, 65535))
    assert np.array_equal(shallow, deep)


def test_a_photograph_of_100_megapixels_is_read_and_a_bomb_is_not():
    small = photo(size=(4, 3)).resize((120, 90))
    large = encoded(small.resize((12000, 9000), Image.Resampling.NEAREST), format="JPEG", quality=30)
    pixels = decode(large, image_size=30).pixels.astype(float)
    expected = decode(small, image_size=30).pixels
    assert abs(pixels - expected).mean() < 6
    bomb = encoded(Image.new("1", (16000, 12000)), format="PNG")
    with pytest.raises(Unreadable, match=r"too many pixels: 16000 x 12000 in \d+ bytes"):
        decode(bomb, image_size=30)


def test_a_compression_that_nothing_here_knows_names_its_package(monkeypatch):
    def refuse(page):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)
    with pytest.raises(Unreadable, match=r"needs imagecodecs: `pip install '\.\[pictures\]'`"):
        decode(COLOURS["tiff"][0], image_size=16)
    assert isinstance(decode(GREYS["tiff lzw"][0], image_size=16), Extremes)  # PIL reads one colour
