"""One image file of any kind, as a square of RGB bytes."""

from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

NEUTRAL = (128, 128, 128)  # mid grey, behind what is transparent
UPRIGHT = 1  # value of the EXIF orientation tag
ORIENTATION = 0x0112


class Unreadable(Exception):
    """A file that is not a whole image."""


class Decoded(NamedTuple):
    """An image of the size that is stored."""

    pixels: NDArray[np.uint8]  # (H, W, 3)
    converted: tuple[str, ...]  # its PIL mode unless that was RGB; EXIF if it was turned upright
    size: tuple[int, int]  # (W, H) of the upright image before it was cut and scaled


def decode(content: bytes | Image.Image, *, image_size: int) -> Decoded:
    """Read an image, make it upright and RGB, scale its shorter side to image_size and cut out the centre.

    content: a file, or an image that somebody opened
    Transparent pixels are laid on mid grey; 16 and 32 bits are scaled to 8, not cut off.
    Raises Unreadable if the file is empty, cut short, no image, or larger than PIL holds to be safe.
    """
    try:
        image = content if isinstance(content, Image.Image) else Image.open(BytesIO(content))
        # Here PIL would only warn.
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
            raise Unreadable(f"{image.width} x {image.height} pixels")
        image.load()
        mode = image.mode
        image, turned = upright(image)
        image = rgb(image)
    # Decoders meet broken files with exceptions of every kind: OSError, SyntaxError, ValueError, EOFError.
    except Exception as error:
        raise Unreadable(str(error)) from error
    # The same as scaling first and cutting then, without the memory for the ends of a long strip.
    square = image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=central_square(*image.size))
    converted = (() if mode == "RGB" else (mode,)) + (("EXIF",) if turned else ())
    return Decoded(np.asarray(square), converted, image.size)


def central_square(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest square in the middle of an image: left, top, right, bottom in px."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """Turn an image as its EXIF tag says; and whether there was anything to turn."""
    try:
        turned = image.getexif().get(ORIENTATION, UPRIGHT) in range(UPRIGHT + 1, 9)
        return (ImageOps.exif_transpose(image) if turned else image), turned
    except Exception:  # a broken tag does not make the pixels unreadable
        return image, False


def rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*NEUTRAL, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def eight_bits(values: NDArray) -> NDArray[np.uint8]:
    """Scale integers of 16 or 32 bits, or floats, to 0..255.

    values: (H, W); their full range is that of the smallest type which holds them: 16 bits, else 31;
            for floats 0..1, else 8, 16 or 31 bits
    """
    ranges = (2**16 - 1, 2**31 - 1) if values.dtype.kind in "iu" else (1, 2**8 - 1, 2**16 - 1, 2**31 - 1)
    values = np.nan_to_num(values.astype(np.float64))
    full = next((limit for limit in ranges if values.max() <= limit), values.max())
    return (values.clip(0, full) * (255 / full)).round().astype(np.uint8)
