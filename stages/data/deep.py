"""Read images of more than 8 bits or of floats, and choose one value range for a whole source."""

import itertools
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes of a file; + for BigTIFF
PNG = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112
WHITE, RGB, UNSIGNED = 0, 2, 1  # TIFF tags: the lowest value is white; RGB; unsigned integers
OPACITY = (1, 2)  # TIFF tag ExtraSamples: the extra band is transparency, not just any further band
OTHER_COLOURS = {3: "a palette", 5: "CMYK", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab"}  # TIFF photometrics
WHOLE, REAL = "whole numbers", "real numbers"
LIMITS = (2**8 - 1, 2**10 - 1, 2**12 - 1, 2**14 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1)  # of usual sensors
SLACK = 0.01  # share by which processed values may exceed a range

Range = tuple[float, float]


class Unreadable(Exception):
    """The file is not a complete image."""


class Extremes(NamedTuple):
    """The lowest and highest value of an image whose range is not known yet."""

    kind: str  # WHOLE or REAL
    low: float
    high: float


class Deep(NamedTuple):
    """The values of an image as stored in its file."""

    values: NDArray  # (H, W, C) with 1 or 3 colours, of any type
    opaque: NDArray[np.uint8] | None  # (H, W), 0 where the image is transparent
    inverted: bool  # the lowest value is white
    orientation: int  # EXIF orientation that is still to be applied
    mode: str  # name of this kind of image in the manifest

    def extremes(self) -> Extremes:
        """Return the lowest and highest colour value."""
        kind = WHOLE if self.values.dtype.kind in "iu" else REAL
        return Extremes(kind, float(self.values.min()), float(self.values.max()))

    def eight_bits(self, ranges: Mapping[str, Range]) -> Image.Image:
        """Return an 8-bit image; black and white are the ends of the range for this kind of values."""
        low, high = ranges[self.extremes().kind]
        values = (self.values.astype(np.float64).clip(low, high) - low) * (255 / (high - low))
        if self.inverted:
            values = 255 - values
        bands = [values.round().astype(np.uint8)]
        bands += [] if self.opaque is None else [self.opaque[..., None]]
        return Image.fromarray(np.concatenate(bands, axis=2).squeeze())


def common_ranges(images: Iterable[Extremes]) -> dict[str, Range]:
    """Return one range for each kind of values, over all images of a source.

    Whole numbers: 0 to the smallest limit in LIMITS that holds all values. Real numbers: 0 to 1, −1 to 1, or
    the same limits. If no such range holds the values, or if they fill less than a fifth of it, the range is
    the minimum and maximum of the values.
    """
    ranges = {}
    for kind, group in itertools.groupby(sorted(images), key=lambda image: image.kind):
        members = list(group)
        low, high = min(image.low for image in members), max(image.high for image in members)
        limits: list[Range] = [(0, limit) for limit in LIMITS]
        if kind == REAL:
            limits = [(0, 1), (-1, 1), *limits]
        slack = SLACK if kind == REAL else 0
        usual = next((r for r in limits if r[0] - slack * r[1] <= low and high <= (1 + slack) * r[1]), None)
        filled = usual is not None and (usual[1] == limits[0][1] or high >= usual[1] / 5)
        ranges[kind] = usual if usual and filled else (low, high if high > low else low + 1)
    return ranges


def deep_tiff(content: bytes, *, most: int) -> Deep | None:
    """Read a TIFF of more than 8 bits, or of signed or real numbers; return None if PIL can read it.

    most: largest number of pixels to read
    A fourth band beside RGB that is not transparency, such as infrared, is dropped.
    Raises Unreadable if the file is truncated, or if its pixels are neither grey nor RGB.
    """
    from tifffile import TiffFile, TiffFileError

    try:
        with TiffFile(BytesIO(content)) as file:
            page = file.pages.first
            if page.bitspersample <= 8 and page.sampleformat == UNSIGNED:
                return None
            if page.photometric in OTHER_COLOURS:
                raise Unreadable(f"{OTHER_COLOURS[page.photometric]} of more than 8 bits; convert it to RGB")
            if page.imagewidth * page.imagelength > most:
                raise Unreadable(f"too many pixels: {page.imagewidth} x {page.imagelength}")
            if page.size > max(4 * page.imagewidth * page.imagelength, 2**24):  # before memory is reserved
                raise Unreadable(f"needs one or three colours, but has values {page.shape}")
            # tifffile would fill missing data with zeros.
            ends = (start + size for start, size in zip(page.dataoffsets, page.databytecounts, strict=True))
            if max(ends) > len(content):
                raise Unreadable("the file is truncated")
            try:
                values = page.asarray()
            except ValueError as error:
                # PIL reads images of one colour in most compressions.
                if "imagecodecs" in str(error) and page.samplesperpixel == 1 and page.photometric != WHITE:
                    return None
                raise
            if page.axes.startswith("S"):  # one plane per colour
                values = np.moveaxis(values, 0, -1)
            transparent = bool(page.extrasamples) and page.extrasamples[-1] in OPACITY
            if page.photometric == RGB and page.samplesperpixel == 4 and not transparent:
                values = values[..., :3]
            inverted = page.photometric == WHITE
            orientation = int(page.tags[ORIENTATION].value) if ORIENTATION in page.tags else 1
    except (TiffFileError, ValueError, KeyError, IndexError, OSError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        if "imagecodecs" in reason:
            reason = "its compression needs imagecodecs: `pip install '.[pictures]'`"
        raise Unreadable(reason) from error
    mode = f"TIFF {values.dtype}"
    return _deep(values, mode=mode, orientation=orientation, transparent=transparent, inverted=inverted)


def deep_png(content: bytes, image: Image.Image) -> Deep | None:
    """Read a 16-bit PNG whose low bits PIL would drop; return None if PIL keeps all bits."""
    if not content.startswith(PNG) or content[24] != 16 or image.mode.startswith("I"):
        return None
    import torch  # takes seconds to import, and only these files need it
    from torchvision.io import ImageReadMode, decode_image

    try:
        encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        values = decode_image(encoded, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    except RuntimeError as error:
        raise Unreadable(str(error).partition("\n")[0]) from error
    orientation, transparent = image.getexif().get(ORIENTATION, 1), values.shape[2] in (2, 4)
    return _deep(values, mode=f"{image.mode};16", orientation=orientation, transparent=transparent)


def deep_mode(image: Image.Image, *, orientation: int) -> Deep | None:
    """Return the values of a loaded image if its PIL mode has more than 8 bits, otherwise None.

    orientation: EXIF orientation that is still to be applied
    """
    if not image.mode.startswith(("I", "F")):
        return None
    return _deep(np.asarray(image), mode=image.mode, orientation=orientation)


def _deep(
    values: NDArray, *, mode: str, orientation: int, transparent: bool = False, inverted: bool = False
) -> Deep:
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] - transparent not in (1, 3) or values.dtype.kind not in "iuf":
        raise Unreadable(f"needs one or three colours, but has values {values.dtype} {values.shape}")
    colours, opaque = values, None
    if transparent:
        colours, last = values[..., :-1], values[..., -1].astype(np.float64)
        full = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
        opaque = (last.clip(0, full) * (255 / full)).round().astype(np.uint8)
    if not np.isfinite(colours).all():
        raise Unreadable("some pixels are NaN or infinite")
    return Deep(colours, opaque, inverted, orientation, mode)
