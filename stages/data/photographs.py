"""Read the original photographs that `prepare` keeps beside the stored squares (data.store: photographs).

data/prepared/train/ then also holds:
photographs-000.bin, ...   encoded images, one after the other, in files of at most FILE_BYTES
photographs.npy            int64 (n, 7), one row per image, in the order of images.npy; see Entry
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.study.errors import StudyError

INDEX = "photographs.npy"
FILE_BYTES = 2**32  # largest size of one file
CHUNK = 2**16  # rows of the index in memory at a time
UPRIGHT = 1  # EXIF orientation
JPEG = b"\xff\xd8"  # first bytes of a file
# A photograph is decoded at a half, a quarter or an eighth if its shorter side keeps this many image sizes.
# The smallest published crops have a twentieth of the area, 0.22 of the side, so they lose no detail.
SIZES = 5


class Entry(NamedTuple):
    """One row of the index."""

    file: int  # number of the file
    start: int  # bytes
    length: int  # bytes
    height: int  # px, as encoded
    width: int
    orientation: int  # EXIF orientation, which turns the encoded image upright
    digest: int  # see `digest_of`


class Photographs:
    """The photographs of one split; they stay on disk, encoded, until they are read."""

    def __init__(self, folder: Path, *, image_size: int) -> None:
        """
        image_size: side of the encoder's input in px
        Raises StudyError if the index or a file is missing or too short, or without torchcodec.
        """
        jpeg_decoder()
        self.folder, self.image_size = folder, image_size
        paths = sorted(folder.glob("photographs-*.bin"))
        try:
            self.index = np.load(folder / INDEX, mmap_mode="r")
            self.files = [np.memmap(path, mode="r", dtype=np.uint8) for path in paths]
        except (OSError, ValueError, EOFError) as error:
            raise StudyError(f"{folder}: incomplete ({error}); run `dvc repro -f prepare`") from None
        ends = np.array([len(file) for file in self.files])
        for start in range(0, len(self.index), CHUNK):
            files, starts, lengths = self.index[start : start + CHUNK, :3].T
            if files.max() >= len(ends) or (starts + lengths > ends[files]).any():
                raise StudyError(f"{folder}: photographs-*.bin are incomplete; run `dvc repro -f prepare`")

    def __len__(self) -> int:
        return len(self.index)

    def entry(self, row: int) -> Entry:
        """Return one row of the index."""
        return Entry(*self.index[row].tolist())

    def encoded(self, row: int) -> bytes:
        """Return one encoded image.

        Raises StudyError if its bytes changed.
        """
        entry = self.entry(row)
        content = self.files[entry.file][entry.start : entry.start + entry.length].tobytes()
        if digest_of(content) != entry.digest:
            raise StudyError(
                f"{self.folder}/photographs-{entry.file:03d}.bin: the images changed since prepare wrote "
                "them; write them again: `dvc repro --single-item --force prepare`"
            )
        return content

    def read(self, row: int) -> Tensor:
        """Return one upright photograph, uint8 (3, H, W); see `decode_photograph`."""
        entry = self.entry(row)
        reduction = reduction_of(entry.height, entry.width, image_size=self.image_size)
        return decode_photograph(self.encoded(row), reduction=reduction, orientation=entry.orientation)


def digest_of(content: bytes) -> int:
    """Return the first 8 bytes of the SHA-256, as int64."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big", signed=True)


def reduction_of(height: int, width: int, *, image_size: int) -> int:
    """Return by how much to reduce a photograph while it is decoded: 1, 2, 4 or 8."""
    sizes = min(height, width) / image_size
    return max(factor for factor in (1, 2, 4, 8) if factor == 1 or sizes / factor >= SIZES)


def jpeg_decoder() -> Callable[..., Any]:
    """Return the JPEG decoder of torchcodec, which is imported here because no other store needs it.

    Raises StudyError if torchcodec is missing or cannot be loaded.
    """
    try:
        from torchcodec.decoders import decode_jpeg
    except Exception as error:  # of several kinds: not installed, or built for another torch
        reason = f"{error}".strip().partition("\n")[0] or type(error).__name__
        raise StudyError(
            f"params.yaml: data.store photographs needs torchcodec, which cannot be loaded ({reason}); "
            f"`pip install '.[photographs]'` installs it and a torch that fits (here: {torch.__version__}), "
            "or set store: squares"
        ) from None
    return decode_jpeg


def decode_photograph(content: bytes, *, reduction: int, orientation: int) -> Tensor:
    """Decode a stored image: uint8 (3, H, W), upright.

    content:   a file, RGB or grey
    reduction: 1, 2, 4 or 8; both sides are divided by it and rounded up
    Threads decode at the same time, because the libraries release the interpreter's lock.
    """
    # torchcodec turns images upright itself, but may read another orientation than PIL did for the index.
    if reduction == 1 and orientation == UPRIGHT and content.startswith(JPEG):
        decode = jpeg_decoder()
        with suppress(RuntimeError):  # of a file that only PIL can read
            return cast(Tensor, decode(content, mode="RGB"))
    with Image.open(BytesIO(content)) as image:
        if content.startswith(JPEG):  # decodes at the reduced size
            image.draft("RGB", (image.width // reduction, image.height // reduction))
            reduction = 1
        rgb = image.convert("RGB").reduce(reduction)
    return turn(torch.from_numpy(np.array(rgb)).permute(2, 0, 1), orientation)


def turn(pixels: Tensor, orientation: int) -> Tensor:
    """Return a photograph (3, H, W) upright, given its EXIF orientation, 1 to 8."""
    if orientation >= 5:  # stored transposed
        pixels = pixels.transpose(1, 2)
        orientation = {5: 1, 6: 2, 7: 3, 8: 4}[orientation]
    mirrored = {1: (), 2: (2,), 3: (1, 2), 4: (1,)}[orientation]
    return pixels.flip(mirrored) if mirrored else pixels
