"""Load the prepared images: memory-mapped arrays with a manifest.

data/prepared/ holds:
manifest.json
{train,test}/images.npy    uint8 (n, H, W, 3)
{train,test}/<label>.npy   int64 (n,), one file per label set: `class`, or `shape` and `texture`
{train,test}/masks.npy     bool (n, H, W), the pixels of the object, if the source has masks
{train,test}/ignored.npy   bool (n, H, W), pixels excluded from scoring, only for masks from files
"""

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stages.study.errors import StudyError
from stages.study.paths import DATA, read_json

SPLITS = ("train", "test")
CHUNK = 2**24  # bytes in memory at a time when whole files are read


class Split(NamedTuple):
    """The images of one split; they stay on disk until they are indexed."""

    images: np.ndarray  # uint8 (n, H, W, 3), memory-mapped
    labels: dict[str, np.ndarray]  # int64 (n,) for each label set
    masks: np.ndarray | None  # bool (n, H, W), memory-mapped
    ignored: np.ndarray | None = None  # bool (n, H, W), memory-mapped


class SplitSummary(BaseModel):
    """Number of images of a split, in total and for each class of each label set."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    images: int
    per_class: dict[str, list[int]]


class Manifest(BaseModel):
    """The content of data/prepared/."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str  # data.source in params.yaml
    image_size: int  # px
    labels: dict[str, list[str]]  # class names of each label set; a label is an index into them
    mean: list[float]  # per channel of the training images, in [0, 1]
    std: list[float]
    arrays: dict[str, str]  # SHA-256 of each array, by its path without suffix, such as train/images
    splits: dict[str, SplitSummary]
    unreadable: list[str]  # skipped files, named relative to the source
    converted: dict[str, int]  # number of converted images by PIL mode; EXIF: rotated upright

    def content(self, *splits: str, labels: bool) -> dict[str, str]:
        """Return the digests of the images of some splits, and of their labels if wanted; masks never count.

        What a result depends on: other test images, labels or masks repeat only what reads them.
        """
        others = {"masks", "ignored"} | (set() if labels else set(self.labels))
        return {
            path: digest
            for path, digest in self.arrays.items()
            if path.partition("/")[0] in splits and path.partition("/")[2] not in others
        }


def read_manifest(directory: Path = DATA) -> Manifest:
    """Return the manifest of data/prepared/.

    Raises StudyError if it is missing or unreadable.
    """
    path = directory / "manifest.json"
    try:
        return Manifest.model_validate(read_json(path))
    except FileNotFoundError:
        raise StudyError(f"{path}: not found; run `dvc repro prepare`") from None
    except (ValueError, ValidationError):
        raise StudyError(f"{path}: not a valid manifest; run `dvc repro -f prepare`") from None


def open_split(name: str, directory: Path = DATA) -> Split:
    """Open the arrays of one split, train or test.

    Raises StudyError if the split does not exist, or if its arrays do not match the manifest.
    """
    manifest = read_manifest(directory)
    if name not in manifest.splits:
        raise StudyError(f"{directory}: no split {name!r}; choose from: {', '.join(manifest.splits)}")
    folder, size = directory / name, manifest.image_size
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        labels = {label: np.load(folder / f"{label}.npy") for label in manifest.labels}
        masks, ignored = (
            np.load(path, mmap_mode="r") if path.exists() else None
            for path in (folder / "masks.npy", folder / "ignored.npy")
        )
    except (OSError, ValueError, EOFError) as error:
        raise StudyError(f"{folder}: incomplete ({error}); run `dvc repro -f prepare`") from None
    rows = manifest.splits[name].images
    complete = images.shape == (rows, size, size, 3) and all(len(array) == rows for array in labels.values())
    if not complete or any(
        array is not None and array.shape != (rows, size, size) for array in (masks, ignored)
    ):
        raise StudyError(f"{folder}: does not match {directory}/manifest.json; run `dvc repro -f prepare`")
    return Split(images, labels, masks, ignored)


def refuse_changed_images(directory: Path = DATA) -> None:
    """Compare all arrays to their digests in the manifest; reads every byte once.

    Raises StudyError if they differ.
    """
    expected = read_manifest(directory).arrays
    try:
        unchanged = digests(directory) == expected
    except (OSError, ValueError, EOFError):  # not an array any more
        unchanged = False
    if not unchanged:
        raise StudyError(
            f"{directory}: the images changed since prepare wrote them; write them again: "
            "`dvc repro --single-item --force prepare`"
        )


def digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each array, its type and its shape, by its path without suffix."""
    return {
        f"{split}/{path.stem}": _digest(np.load(path, mmap_mode="r"))
        for split in SPLITS
        for path in sorted((directory / split).glob("*.npy"))
    }


def _digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    step = max(1, CHUNK // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[start : start + step]).data)
    return digest.hexdigest()


class _Rows(Dataset[Tensor]):
    """Rows of an array, fetched a whole batch at a time."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __getitems__(self, indices: Any) -> Tensor:
        rows = self.images[np.asarray(indices)]  # copies these rows from disk into memory
        return torch.from_numpy(np.ascontiguousarray(rows.transpose(0, 3, 1, 2)))

    def __getstate__(self) -> dict[str, Any]:
        # Spawned workers receive the file name of a memory-mapped array instead of a copy of its content.
        if isinstance(self.images, np.memmap) and isinstance(self.images.base, mmap.mmap):
            return {"path": self.images.filename}
        return {"images": self.images}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.images = np.load(state["path"], mmap_mode="r") if "path" in state else state["images"]


@singledispatch  # photograph_views.py reads photographs
def batches(
    images: np.ndarray, order: Sequence[np.ndarray], *, workers: int = 0, pin_memory: bool = False
) -> Iterator[Tensor]:
    """Yield batches of images from disk, uint8 (B, 3, H, W), in the given order.

    images:  uint8 (n, H, W, 3), as from open_split
    order:   the indices of each batch
    workers: processes that read ahead; 0: none
    """
    loader = DataLoader(
        _Rows(images),
        batch_sampler=order,  # type: ignore[arg-type]  # arrays of indices work like lists
        collate_fn=_as_it_is,  # type: ignore[arg-type]  # a batch is fetched as one tensor
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # otherwise the loader draws from the global generator
    )
    yield from loader


def in_order(indices: np.ndarray, *, batch_size: int) -> list[np.ndarray]:
    """Split indices (n,) into consecutive batches; the last may be smaller."""
    return np.split(indices, range(batch_size, len(indices), batch_size))


@singledispatch
def unit_range(images: Tensor) -> Tensor:
    """Convert stored uint8 images to float32 in [0, 1], the range that all other code expects."""
    return images.float() / 255


def normalize(images: Tensor, *, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean of each channel and divide by its standard deviation.

    images:    (B, 3, H, W) in [0, 1]
    mean, std: per channel, for images in [0, 1]
    """
    return (images - images.new_tensor(mean).view(3, 1, 1)) / images.new_tensor(std).view(3, 1, 1)


def _as_it_is(batch: Tensor) -> Tensor:
    return batch
