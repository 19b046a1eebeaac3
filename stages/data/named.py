"""Data sets from timm by name, such as torch/cifar10 or hfds/uoft-cs/cifar10."""

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stages.data.listings import Content, Listing
from stages.data.sources import content_of, located
from stages.study.errors import StudyError
from stages.study.paths import scratch

KINDS = ("torch", "hfds", "hfids", "tfds", "wds")
TEST_SPLITS = ("validation", "test")  # in order of preference


def is_name(source: str) -> bool:
    """Return whether a source looks like a name for timm.data.create_dataset: kind/name."""
    kind, _, name = source.partition("/")
    return kind.lower() in KINDS and bool(name)


def list_named(
    source: str, *, root: str | None, image_column: str | None = None, label_column: str | None = None
) -> tuple[Listing, Listing | None]:
    """Return the training images of a named data set, and its validation images or else its test images.

    root:         folder of the data set or of its download; None: scratch/downloads
    image_column: of a Hugging Face data set; None: its only one
    label_column: likewise, of the classes
    Raises StudyError with the reason if timm cannot load the data set, or if a column is not clear.
    """
    folder = scratch() / "downloads"
    if root:
        folder = located(root) or Path(os.path.expanduser(root))
    columns: dict[str, str] = {}
    if features := _features(source, root=folder):
        columns = columns_of(features, source=source, image=image_column, label=label_column)
    train = _create(source, root=folder, split="train", columns=columns)
    for split in TEST_SPLITS:
        test = _create(source, root=folder, split=split, columns=columns)
        if test is not None and not (_is_image_folder(test) and Path(test.root) == folder):
            return _listing(train, source, "train"), _listing(test, source, split)
    return _listing(train, source, "train"), None


def columns_of(
    features: Mapping[str, Any], *, source: str, image: str | None, label: str | None
) -> dict[str, str]:
    """Return the columns of images and of classes, as arguments of timm's reader.

    features: type of each column, as the package datasets names it
    image:    the column that params.yaml names; None: the only one, or else `image`
    label:    likewise; without columns of classes, those of texts and then of whole numbers count
    Raises StudyError, which lists the columns and names the setting.
    """
    kinds = {name: type(kind).__name__ for name, kind in features.items()}
    texts = [name for name, kind in features.items() if getattr(kind, "dtype", "") == "string"]
    numbers = [name for name, kind in features.items() if f"{getattr(kind, 'dtype', '')}".startswith("int")]
    classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    candidates = {
        "image": [name for name, kind in kinds.items() if kind == "Image"],
        "label": classes or [name for name in texts if kinds[name] == "Value"] or numbers,
    }
    chosen = {}
    for kind, wanted in (("image", image), ("label", label)):
        names = candidates[kind]
        if wanted is not None and wanted not in features:
            raise StudyError(
                f"params.yaml: data.{kind}_column is {wanted!r}: {source} has the columns "
                f"{', '.join(features)}"
            )
        if wanted is None and len(names) != 1 and kind not in names:
            listed = ", ".join(names) or f"none among {', '.join(features)}"
            raise StudyError(
                f"data.source {source}: which column has the {kind}s? set data.{kind}_column ({listed})"
            )
        chosen[kind] = wanted or (kind if kind in names else names[0])
    return {"input_key": chosen["image"], "target_key": chosen["label"]}


def _features(source: str, *, root: Path) -> Mapping[str, Any]:
    """Return the columns of a Hugging Face data set; none if it cannot be read, which timm then explains."""
    kind, _, name = source.partition("/")
    if kind.lower() != "hfds" or find_spec("datasets") is None:
        return {}
    import datasets  # an optional package

    try:
        features: Mapping[str, Any] = datasets.load_dataset(name, split="train", cache_dir=str(root)).features
    except Exception:  # of any kind: network, disk, no such data set
        return {}
    return features


def _create(source: str, *, root: Path, split: str, columns: Mapping[str, Any]) -> Any | None:
    """Return timm's data set for a name; None if it lacks this held-out split."""
    from timm.data import create_dataset  # imported here, because only this kind of source needs it

    root.mkdir(parents=True, exist_ok=True)
    try:
        return create_dataset(
            source, root=str(root), split=split, download=True, is_training=False, **columns
        )
    except ImportError as error:
        raise StudyError(f"data.source {source}: install the package that it needs: {error}") from None
    # The kind of error depends on the library behind the name, the network and the disk.
    except Exception as error:
        if isinstance(error, ValueError) and split != "train":
            return None
        reason = (str(error).splitlines() or [""])[0]
        raise StudyError(f"data.source {source}: {split}: {type(error).__name__}: {reason}") from None


def _is_image_folder(dataset: Any) -> bool:
    """Return whether a data set is torch/image_folder; torchvision's ImageNet is a subclass, and is not."""
    from torchvision.datasets import ImageFolder  # takes seconds to import, as below

    return type(dataset) is ImageFolder


def _listing(dataset: Any, source: str, split: str) -> Listing:
    labels = _labels(dataset)
    texts = sorted({label for label in labels if isinstance(label, str)})
    if texts:
        number = {text: index for index, text in enumerate(texts)}
        labels = [number.get(f"{label}", -1) for label in labels]
    names = texts or _class_names(dataset, max(labels, default=0) + 1)
    if not labels or min(labels) < 0 or max(labels) >= len(names):
        raise StudyError(
            f"data.source {source}: {split}: some images have no label; choose a labelled data set"
        )
    return Listing(
        classes={f"{split}/{index}": names[label] for index, label in enumerate(labels)},
        read=lambda wanted: _read(dataset, {int(name.rpartition("/")[2]): name for name in wanted}),
    )


def _labels(dataset: Any) -> list[Any]:
    """Return the class of every image: whole numbers, or texts; -1 for none."""
    reader: Any = getattr(dataset, "reader", None)
    if hasattr(dataset, "targets"):
        labels = dataset.targets
    elif hasattr(reader, "iter_targets"):
        labels = reader.iter_targets()
    else:
        labels = (label for _, label in dataset)  # slow: decodes every image
    return [label if isinstance(label, str) else -1 if label is None else int(label) for label in labels]


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
    if _is_image_folder(dataset):  # its loader would convert the images, without our ranges and background
        yield from ((wanted[index], content_of(Path(dataset.samples[index][0]))) for index in sorted(wanted))
        return
    for index in sorted(wanted):
        try:
            # Read through the reader, because timm's data set silently replaces unreadable images by others.
            image = reader[index][0]
            yield wanted[index], image.read() if hasattr(image, "read") else image
        except Exception:  # any image that cannot be opened counts as unreadable
            yield wanted[index], b""
