"""Data sets that timm knows by name, such as torch/cifar10 or hfds/uoft-cs/cifar10."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.data.listings import Content, Listing
from stages.study.errors import StudyError
from stages.study.paths import scratch

KINDS = ("torch", "hfds", "hfids", "tfds", "wds")
TEST_SPLITS = ("validation", "test")  # the first that the data set has


def is_name(source: str) -> bool:
    """Whether a source reads like a name for timm.data.create_dataset: kind/name."""
    kind, _, name = source.partition("/")
    return kind.lower() in KINDS and bool(name)


def list_named(source: str, *, root: str | None) -> tuple[Listing, Listing | None]:
    """The training images of a named data set, and its validation or else its test images.

    root: where it lies or is downloaded to; None: scratch/downloads
    Raises StudyError with the reason if timm cannot give it.
    """
    folder = Path(root).expanduser() if root else scratch() / "downloads"
    train = _create(source, root=folder, split="train")
    for split in TEST_SPLITS:
        test = _create(source, root=folder, split=split)
        # A folder that lacks this split is given as a whole, which would be a test on the training images.
        if test is not None and getattr(train, "samples", 0) != getattr(test, "samples", 1):
            return _listing(train, source, "train"), _listing(test, source, split)
    return _listing(train, source, "train"), None


def _create(source: str, *, root: Path, split: str) -> Any | None:
    """The data set that timm makes of a name; None if it has no such split to test on."""
    from timm.data import create_dataset  # here, since only this kind of source needs it

    root.mkdir(parents=True, exist_ok=True)
    try:
        return create_dataset(source, root=str(root), split=split, download=True, is_training=False)
    except ImportError as error:
        raise StudyError(f"data.source {source}: needs a package that is not installed: {error}") from None
    # What goes wrong depends on the library behind the name, the network and the disk.
    except Exception as error:
        if isinstance(error, ValueError) and split != "train":
            return None
        reason = (str(error).splitlines() or [""])[0]
        raise StudyError(f"data.source {source}: {split}: {type(error).__name__}: {reason}") from None


def _listing(dataset: Any, source: str, split: str) -> Listing:
    labels = _labels(dataset)
    names = _class_names(dataset, max(labels, default=0) + 1)
    if not labels or min(labels) < 0 or max(labels) >= len(names):
        raise StudyError(f"data.source {source}: {split}: has images without a label")
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
    return [int(label) for _, label in dataset]  # decodes every image, which the others need not


def _class_names(dataset: Any, count: int) -> list[str]:
    holder = dataset if hasattr(dataset, "class_to_idx") else getattr(dataset, "reader", None)
    names = [f"{label:0{len(str(count - 1))}d}" for label in range(count)]
    # ImageNet has several words for most classes, of which the first will do, and the same word for a few.
    for name, label in reversed((getattr(holder, "class_to_idx", None) or {}).items()):
        if label < count:
            names[label] = name
    return names


def _read(dataset: Any, wanted: dict[int, str]) -> Iterator[tuple[str, Content]]:
    from torch.utils.data import IterableDataset  # takes seconds, and is_name does without

    reader = getattr(dataset, "reader", dataset)
    if isinstance(dataset, IterableDataset):
        yield from ((wanted[index], image) for index, (image, _) in enumerate(dataset) if index in wanted)
        return
    for index in sorted(wanted):
        try:
            # Through the reader, since timm's data set puts another image in the place of one that fails.
            image = reader[index][0]
            yield wanted[index], image.read() if hasattr(image, "read") else image
        except Exception:  # what cannot be opened is counted as unreadable, whatever the reason
            yield wanted[index], b""
