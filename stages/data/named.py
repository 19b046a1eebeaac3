"""Data sets from timm by name, such as torch/cifar10 or hfds/uoft-cs/cifar10."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.data.listings import Content, Listing
from stages.study.errors import StudyError
from stages.study.paths import scratch

KINDS = ("torch", "hfds", "hfids", "tfds", "wds")
TEST_SPLITS = ("validation", "test")  # in order of preference


def is_name(source: str) -> bool:
    """Return whether a source looks like a name for timm.data.create_dataset: kind/name."""
    kind, _, name = source.partition("/")
    return kind.lower() in KINDS and bool(name)


def list_named(source: str, *, root: str | None) -> tuple[Listing, Listing | None]:
    """Return the training images of a named data set, and its validation images or else its test images.

    root: folder of the data set or of its download; None: scratch/downloads
    Raises StudyError with the reason if timm cannot load the data set.
    """
    folder = Path(root).expanduser() if root else scratch() / "downloads"
    train = _create(source, root=folder, split="train")
    for split in TEST_SPLITS:
        test = _create(source, root=folder, split=split)
        # If a folder lacks this split, timm returns the whole folder, and training images would be tested on.
        if test is not None and getattr(train, "samples", 0) != getattr(test, "samples", 1):
            return _listing(train, source, "train"), _listing(test, source, split)
    return _listing(train, source, "train"), None


def _create(source: str, *, root: Path, split: str) -> Any | None:
    """Return timm's data set for a name; None if it lacks this held-out split."""
    from timm.data import create_dataset  # imported here, because only this kind of source needs it

    root.mkdir(parents=True, exist_ok=True)
    try:
        return create_dataset(source, root=str(root), split=split, download=True, is_training=False)
    except ImportError as error:
        raise StudyError(f"data.source {source}: install the package that it needs: {error}") from None
    # The kind of error depends on the library behind the name, the network and the disk.
    except Exception as error:
        if isinstance(error, ValueError) and split != "train":
            return None
        reason = (str(error).splitlines() or [""])[0]
        raise StudyError(f"data.source {source}: {split}: {type(error).__name__}: {reason}") from None


def _listing(dataset: Any, source: str, split: str) -> Listing:
    labels = _labels(dataset)
    names = _class_names(dataset, max(labels, default=0) + 1)
    if not labels or min(labels) < 0 or max(labels) >= len(names):
        raise StudyError(
            f"data.source {source}: {split}: some images have no label; choose a labelled data set"
        )
    return Listing(
        classes={f"{split}/{index}": names[label] for index, label in enumerate(labels)},
        read=lambda wanted: _read(dataset, {int(name.rpartition("/")[2]): name for name in wanted}),
    )


def _labels(dataset: Any) -> list[int]:
    reader: Any = getattr(dataset, "reader", None)
    if hasattr(dataset, "targets"):
        return [int(label) for label in dataset.targets]
    if hasattr(reader, "iter_targets"):
        return [int(label) for label in reader.iter_targets()]
    return [int(label) for _, label in dataset]  # slow: decodes every image


def _class_names(dataset: Any, count: int) -> list[str]:
    holder = dataset if hasattr(dataset, "class_to_idx") else getattr(dataset, "reader", None)
    names = [f"{label:0{len(str(count - 1))}d}" for label in range(count)]
    # ImageNet has several words for most classes; the first one is used. A few classes share a word.
    for name, label in reversed((getattr(holder, "class_to_idx", None) or {}).items()):
        if label < count:
            names[label] = name
    return names


def _read(dataset: Any, wanted: dict[int, str]) -> Iterator[tuple[str, Content]]:
    from torch.utils.data import IterableDataset  # takes seconds to import, and is_name does not need it

    reader = getattr(dataset, "reader", dataset)
    if isinstance(dataset, IterableDataset):
        yield from ((wanted[index], image) for index, (image, _) in enumerate(dataset) if index in wanted)
        return
    for index in sorted(wanted):
        try:
            # Read through the reader, because timm's data set silently replaces unreadable images by others.
            image = reader[index][0]
            yield wanted[index], image.read() if hasattr(image, "read") else image
        except Exception:  # any image that cannot be opened counts as unreadable
            yield wanted[index], b""
