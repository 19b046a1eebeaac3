"""Write the arrays of stages/data/arrays.py and their manifest, for any number of images."""

import ctypes
import errno
import hashlib
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import header_data_from_array_1_0, open_memmap, write_array_header_1_0
from numpy.typing import NDArray

from stages.data.arrays import CHUNK, SPLITS, Manifest, SplitSummary
from stages.data.photographs import Entry
from stages.study.errors import StudyError
from stages.study.paths import write_json


class SplitWriter:
    """Writes one split, row by row in any order, with constant memory."""

    def __init__(
        self,
        folder: Path,
        *,
        rows: int,
        image_size: int,
        labels: Sequence[str],
        masks: Sequence[str] = (),
        photographs: bool = False,
    ) -> None:
        """
        folder: created here; its name is the name of the split
        rows:   largest number of images
        labels: names of the label sets
        masks:  names of the per-pixel arrays: masks, ignored
        photographs: also write the index of stages/data/photographs.py
        Raises StudyError if the disk has too little space.
        """
        folder.mkdir(parents=True)
        pixels = (rows, image_size, image_size)
        kinds: dict[str, tuple[tuple[int, ...], Any]] = {"images": ((*pixels, 3), np.uint8)}
        kinds |= {label: ((rows,), np.int64) for label in labels}
        kinds |= {name: (pixels, np.bool_) for name in masks}
        if photographs:
            kinds["photographs"] = ((rows, len(Entry._fields)), np.int64)
        size = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in kinds.values())
        if size > (free := shutil.disk_usage(folder).free):
            raise StudyError(
                f"{rows} {folder.name} images need {size / 2**30:.3g} GiB of disk, but "
                f"{free / 2**30:.3g} GiB are free; free some space, or lower "
                f"data.max_{folder.name}_images or data.image_size in params.yaml"
            )
        self.folder = folder
        self.arrays = {}
        for name, (shape, dtype) in kinds.items():
            path = folder / f"{name}.npy"
            self.arrays[name] = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
            reserve(path)
        self.written = np.zeros(rows, dtype=bool)
        self.ahead: set[str] = set()  # names of arrays written before the images

    def put(self, rows: NDArray[np.int64], **arrays: np.ndarray) -> None:
        """Write images (B, H, W, 3), labels (B,), masks (B, H, W) and entries (B, 7), by name, to rows (B,).

        Write everything at once, or the masks first. Rows without images are dropped by `close`.
        Raises KeyError if the names differ from the arrays of this writer.
        """
        if "images" in arrays and arrays.keys() | self.ahead != self.arrays.keys():
            raise KeyError(f"expected {sorted(self.arrays)}, got {sorted(arrays)}")
        if "images" not in arrays:
            self.ahead |= arrays.keys()
        for name, values in arrays.items():
            self.arrays[name][rows] = values
        self.written[rows] |= "images" in arrays

    def close(self) -> None:
        """Finish the files and drop the rows without images.

        Raises StudyError if no row has an image.
        """
        filled = np.flatnonzero(self.written)
        if not len(filled):
            raise StudyError(f"no readable {self.folder.name} images; check data.source in params.yaml")
        for name, array in self.arrays.items():
            array.flush()
            if len(filled) < len(array):
                for start, stop in _chunks(
                    array, len(filled)
                ):  # safe in place, because rows only move forward
                    array[start:stop] = array[filled[start:stop]]
                array.flush()
                _shorten(self.folder / f"{name}.npy", array, rows=len(filled))
        self.arrays = {}


def reserve(path: Path) -> None:
    """Reserve the disk space of a file whose last byte alone has been written.

    Otherwise, writing to a memory-mapped file would kill the process without a message as soon as another
    process fills the disk, or at a quota. File systems that cannot reserve space are left as they are;
    os.posix_fallocate would write to every block of them.
    Raises OSError if there is too little space.
    """
    if sys.platform != "linux":
        return
    system = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b") as file:
        failed = system.fallocate(file.fileno(), 0, ctypes.c_int64(0), ctypes.c_int64(path.stat().st_size))
    number = ctypes.get_errno()
    if failed and number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        raise OSError(number, os.strerror(number), f"{path}")


def write_manifest(
    directory: Path,
    *,
    source: str,
    image_size: int,
    labels: Mapping[str, Sequence[str]],
    unreadable: Sequence[str] = (),
    converted: Mapping[str, int] | None = None,
) -> Manifest:
    """Write the manifest of the arrays in a directory, after their writers are closed."""
    arrays = {}
    histogram = np.zeros((3, 256), dtype=np.int64)  # of the training images; exact for any number of them
    splits = {}
    for split in SPLITS:
        counts = {}
        for path in sorted((directory / split).glob("*.npy")):
            array = np.load(path, mmap_mode="r")
            digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())  # as in arrays.digests
            for start, stop in _chunks(array, len(array)):
                chunk = np.ascontiguousarray(array[start:stop])
                digest.update(chunk.data)
                if split == "train" and path.stem == "images":
                    histogram += [np.bincount(chunk[..., c].reshape(-1), minlength=256) for c in range(3)]
            arrays[f"{split}/{path.stem}"] = digest.hexdigest()
            if path.stem in labels:
                counts[path.stem] = np.bincount(array, minlength=len(labels[path.stem])).tolist()
        splits[split] = SplitSummary(images=len(array), per_class=counts)
    level = np.arange(256) / 255
    mean = histogram @ level / histogram.sum(axis=1)
    variance = histogram @ level**2 / histogram.sum(axis=1) - mean**2
    manifest = Manifest(
        source=source,
        image_size=image_size,
        labels={name: list(classes) for name, classes in labels.items()},
        mean=mean.tolist(),
        # Identical images have standard deviation 0, which would divide by zero.
        std=np.sqrt(variance.clip(min=1 / 255**2)).tolist(),
        arrays=arrays,
        splits=splits,
        unreadable=sorted(unreadable),
        converted=dict(converted or {}),
    )
    write_json(directory / "manifest.json", manifest.model_dump())
    return manifest


def _shorten(path: Path, array: np.memmap, *, rows: int) -> None:
    """Truncate a .npy file to its first rows; NumPy's header has space for any number of rows."""
    header = header_data_from_array_1_0(array) | {"shape": (rows, *array.shape[1:])}
    with path.open("r+b") as file:
        write_array_header_1_0(file, header)
        if file.tell() != array.offset:
            raise RuntimeError(f"{path}: NumPy's header has become longer")
        file.truncate(array.offset + rows * array[:1].nbytes)


def _chunks(array: np.ndarray, rows: int) -> list[tuple[int, int]]:
    step = max(1, CHUNK // max(1, array[:1].nbytes))
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]
