"""Choose the bytes that are stored for an original photograph: its file, or a PNG of the converted image."""

from io import BytesIO
from typing import NamedTuple

from PIL import Image

# Formats whose files are stored unchanged. Other formats need plug-ins of PIL, or settings.
UNCHANGED = ("JPEG", "MPO", "PNG", "WEBP")
UPRIGHT = 1  # EXIF orientation


class Encoded(NamedTuple):
    """An encoded image, RGB or grey with 8 bits."""

    content: bytes
    height: int  # px, as encoded
    width: int
    orientation: int  # EXIF orientation, which turns the encoded image upright


def as_encoded(
    content: bytes | Image.Image, *, file: Image.Image, mode: str, orientation: int, upright: Image.Image
) -> Encoded:
    """Return the content of a file if it needs no conversion but a rotation; otherwise encode it as PNG.

    file:    the opened file
    mode:    its PIL mode
    upright: the converted RGB image
    """
    plain = mode in ("RGB", "L") and file.format in UNCHANGED and not file.has_transparency_data
    if not plain or not isinstance(content, bytes):
        return as_png(upright)
    with Image.open(BytesIO(content)) as header:  # the opened file may be set to decode at a reduced size
        return Encoded(content, header.height, header.width, orientation)


def as_png(image: Image.Image) -> Encoded:
    """Encode an upright RGB image without loss."""
    buffer = BytesIO()
    image.save(buffer, format="PNG", compress_level=1)  # several times as fast as PIL's default
    return Encoded(buffer.getvalue(), image.height, image.width, UPRIGHT)
