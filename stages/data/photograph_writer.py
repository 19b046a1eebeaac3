"""Write the original photographs of a split into few large files."""

from pathlib import Path
from typing import BinaryIO

from stages.data.encoded import Encoded
from stages.data.photographs import FILE_BYTES, Entry, digest_of


class PhotographWriter:
    """Appends encoded images to the files of a split."""

    def __init__(self, folder: Path, *, file_bytes: int = FILE_BYTES) -> None:
        self.folder = folder
        self.file_bytes = file_bytes  # largest size of a file, except that a file holds at least one image
        self.number, self.end = -1, file_bytes
        self.file: BinaryIO | None = None

    def append(self, image: Encoded) -> Entry:
        """Write one image and return its row of the index."""
        length = len(image.content)
        if self.end + length > self.file_bytes:
            self.close()
            self.number, self.end = self.number + 1, 0
            self.file = (self.folder / f"photographs-{self.number:03d}.bin").open("wb")
        assert self.file is not None
        self.file.write(image.content)
        start, self.end = self.end, self.end + length
        digest = digest_of(image.content)
        return Entry(self.number, start, length, image.height, image.width, image.orientation, digest)

    def close(self) -> None:
        """Finish the last file."""
        if self.file is not None:
            self.file.close()
        self.file = None
