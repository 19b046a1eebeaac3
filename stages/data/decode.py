"""Decode one image file of any format to a square of RGB bytes."""

import threading
from collections.abc import Mapping
from contextlib import nullcontext
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.data.deep import (
    ORIENTATION,
    TIFF,
    Deep,
    Extremes,
    Range,
    Unreadable,
    deep_mode,
    deep_png,
    deep_tiff,
)
from stages.data.encoded import Encoded, as_encoded, as_png

NEUTRAL = (128, 128, 128)  # mid grey, the background of transparent images
UPRIGHT = 1  # value of the EXIF orientation tag
SIDEWAYS = range(5, 9)  # EXIF values that swap width and height
MANY = 2**26  # pixels; larger images are decoded one at a time
MOST = 2**28  # pixels of the largest accepted image: 0.8 GB
BOMB = 300  # pixels per byte above which a large file is refused; photographs have about ten
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ALONE = threading.Lock()  # held while a large image is in memory
Image.MAX_IMAGE_PIXELS = MOST  # PIL's own limit is 179 megapixels


class Decoded(NamedTuple):
    """An image at the stored size."""

    pixels: NDArray[np.uint8]  # (H, W, 3)
    converted: tuple[str, ...]  # PIL mode, unless RGB; EXIF, if the image was rotated upright
    size: tuple[int, int]  # (W, H) of the upright image before cropping and scaling
    orientation: int = UPRIGHT  # EXIF orientation of the file
    encoded: Encoded | None = None  # the whole image, if it is to be stored too


def decode(
    content: bytes | Image.Image,
    *,
    image_size: int,
    ranges: Mapping[str, Range] | None = None,
    whole: bool = False,
) -> Decoded | Extremes:
    """Read an image, make it upright and RGB, scale its shorter side to image_size and crop the centre.

    content: content of a file, or an opened image
    ranges:  values of black and white in images of more than 8 bits, see `common_ranges`
    whole:   also return the whole image, encoded
    Transparent pixels are blended with mid grey. If `ranges` lacks the image's kind, return its extremes.
    Raises Unreadable if the file is empty, truncated, no image or too large, or has NaN or infinite pixels.
    """
    if content == b"":
        raise Unreadable("empty file, larger than 512 MB, or no permission to read it")
    try:
        deep = deep_tiff(content, most=MOST) if isinstance(content, bytes) and content[:4] in TIFF else None
        if deep is None:
            if isinstance(content, bytes):
                image, full = _opened(content, image_size=image_size)
            else:
                image, full = content, None
            many = image.width * image.height > MANY
            with ALONE if many else nullcontext():
                decoded = _decoded(image, content, image_size=image_size, ranges=ranges, whole=whole)
            if full and isinstance(decoded, Decoded):
                sideways = decoded.orientation in SIDEWAYS
                decoded = decoded._replace(size=full[::-1] if sideways else full)
            return decoded
        return _square(deep, image_size=image_size, ranges=ranges, whole=whole)
    except Unreadable:
        raise
    # Decoders raise many kinds of exceptions for broken files: OSError, SyntaxError, ValueError, EOFError.
    except Exception as error:
        raise Unreadable(f"{error}".partition("\n")[0].partition(" <")[0] or type(error).__name__) from error


def opened(content: bytes, *, image_size: int) -> Image.Image:
    """Open an image file; large JPEGs are set to decode at a reduced size.

    Raises Unreadable if the image has too many pixels, in total or for the size of its file (a decompression
    bomb).
    """
    return _opened(content, image_size=image_size)[0]


def _opened(content: bytes, *, image_size: int) -> tuple[Image.Image, tuple[int, int] | None]:
    """Return an opened image, and its (W, H) if it is set to decode at a reduced size, otherwise None."""
    if content[8:12] in HEIF:
        from pillow_heif import register_heif_opener  # sources.py lists HEIF files only if this is installed

        register_heif_opener()
    image = Image.open(BytesIO(content))
    pixels = image.width * image.height
    if pixels > MOST or (pixels > MANY and pixels > BOMB * len(content)):
        raise Unreadable(f"too many pixels: {image.width} x {image.height} in {len(content)} bytes")
    if pixels <= MANY or image.format != "JPEG":
        return image, None
    full = image.size
    image.draft(image.mode, (2 * image_size, 2 * image_size))
    return image, full


def _decoded(
    image: Image.Image,
    content: bytes | Image.Image,
    *,
    image_size: int,
    ranges: Mapping[str, Range] | None,
    whole: bool,
) -> Decoded | Extremes:
    orientation = orientation_of(image)
    turned = image.format == "TIFF"  # PIL rotates TIFF images while loading
    deep = deep_png(content, image) if isinstance(content, bytes) else None
    image.load()
    if deep := deep or deep_mode(image, orientation=UPRIGHT if turned else orientation):
        return _square(deep, image_size=image_size, ranges=ranges, whole=whole)
    mode, upright = image.mode, rgb(image if turned else turn(image, orientation))
    decoded = _scaled(upright, mode=mode, orientation=orientation, image_size=image_size)
    if not whole:
        return decoded
    return decoded._replace(
        encoded=as_encoded(content, file=image, mode=mode, orientation=orientation, upright=upright)
    )


def _square(
    deep: Deep, *, image_size: int, ranges: Mapping[str, Range] | None, whole: bool
) -> Decoded | Extremes:
    extremes = deep.extremes()
    if extremes.kind not in (ranges or {}):
        return extremes
    upright = rgb(turn(deep.eight_bits(ranges or {}), deep.orientation))
    decoded = _scaled(upright, mode=deep.mode, orientation=deep.orientation, image_size=image_size)
    return decoded._replace(encoded=as_png(upright)) if whole else decoded


def _scaled(image: Image.Image, *, mode: str, orientation: int, image_size: int) -> Decoded:
    # Equal to scaling and then cropping, but without memory for the ends of a long strip.
    square = image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=central_square(*image.size))
    converted = (() if mode == "RGB" else (mode,)) + (("EXIF",) if orientation != UPRIGHT else ())
    return Decoded(np.asarray(square), converted, image.size, orientation)


def central_square(width: int, height: int) -> tuple[int, int, int, int]:
    """Return the largest centred square of an image: left, top, right, bottom in px."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image; UPRIGHT if the tag is missing or broken."""
    try:
        value = image.getexif().get(ORIENTATION, UPRIGHT)
    except Exception:  # a broken tag does not make the pixels unreadable
        return UPRIGHT
    return value if value in TURNS else UPRIGHT


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """Rotate an image or a mask upright, given the EXIF orientation of its file."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded 8-bit image of any mode to RGB."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*NEUTRAL, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")
