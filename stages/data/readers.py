"""Choose training and held-out images of a real source, fix their order, and read their pixels."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from stages.data.decode import Decoded, decode
from stages.data.deep import Extremes, Range, Unreadable, common_ranges
from stages.data.listings import Content, Listing, Splits, list_images, list_splits
from stages.data.named import is_name, list_named
from stages.data.settings import Data
from stages.data.sources import located
from stages.study.errors import StudyError
from stages.study.seeds import derive

READ_AHEAD = 64  # files in memory at a time
DUPLICATES = 0.01  # share of test images that may be training images; published data sets have some


def find_images(data: Data, *, seed: int) -> Splits:
    """Return the training and held-out images of data.source.

    The held-out images come from data.test_source, if it is set. Otherwise they come from test/, val/ and the
    like beside train/, if present. Otherwise they are a random share of each class, data.test_fraction.
    Raises StudyError if a source is missing or broken, if the two splits differ in their classes, or if
    data.test_source holds training images.
    """
    if located(data.source):
        splits = list_splits(data.source)
    elif is_name(data.source):
        splits = Splits(
            *list_named(
                data.source,
                root=data.root,
                image_column=data.image_column,
                label_column=data.label_column,
            )
        )
    else:
        raise StudyError(
            f"params.yaml: data.source {data.source!r}: no such file or folder; use shapes_textures, a "
            "folder or tar with one folder per class, or a timm name such as torch/cifar10 or hfds/..."
        )
    train, test = splits.train, splits.test
    if data.test_source:
        test = list_images(data.test_source)
        refuse_training_images(test, train, test_source=data.test_source, source=data.source)
    if test is None:
        train, test = hold_out(train, fraction=data.test_fraction, seed=seed)
    of_train, of_test = set(train.classes.values()), set(test.classes.values())
    if of_train != of_test:
        raise StudyError(
            f"data.source {data.source}: training and test images must have the same classes; "
            f"only in training: {some(of_train - of_test)}; only in test: {some(of_test - of_train)}"
        )
    if len(of_train) < 2:
        raise StudyError(
            f"data.source {data.source}: needs at least two classes, but has only {some(of_train)}"
        )
    return splits._replace(train=train, test=test)


def refuse_training_images(test: Listing, train: Listing, *, test_source: str, source: str) -> None:
    """Refuse a test source that is the training source, or shares many files with it, also through links.

    A few duplicates are accepted, because published data sets have some.
    Raises StudyError, which names some of the files.
    """
    of_train, of_test = located(source), located(test_source)
    if not of_train or not of_test:  # a named data set has no paths
        return
    if os.path.realpath(of_train) == os.path.realpath(of_test):
        raise StudyError(
            f"params.yaml: data.test_source {test_source} is data.source; name a folder or archive of "
            "held-out images, or set it to null"
        )
    if not (of_train.is_dir() and of_test.is_dir()):
        return
    tested = {file: name for name in test.classes if (file := _file(of_test / name))}
    both = {tested[file] for name in train.classes if (file := _file(of_train / name)) in tested}
    if len(both) > DUPLICATES * len(test.classes):
        raise StudyError(
            f"params.yaml: data.test_source {test_source}: {len(both)} of {len(test.classes)} test images "
            f"are training images: {some(both)}; remove them from one of the two sources"
        )


def _file(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file under all its names and links; None if it is a link to nothing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def hold_out(listing: Listing, *, fraction: float, seed: int) -> tuple[Listing, Listing]:
    """Split a listing in two; the second part has a share of each class, and at least one image of it.

    fraction: share of each class in the second part
    Raises StudyError if a class has only one image.
    """
    held: set[str] = set()
    for label, names in _shuffled(listing, seed=seed, use="held out").items():
        if len(names) < 2:
            raise StudyError(
                f"class {label} has only one image, so none can be held out; set data.test_source"
            )
        held.update(names[: min(len(names) - 1, max(1, round(fraction * len(names))))])
    train = {name: label for name, label in listing.classes.items() if name not in held}
    test = {name: label for name, label in listing.classes.items() if name in held}
    return Listing(train, listing.read), Listing(test, listing.read)


def row_order(listing: Listing, *, split: str, keep: int | None, seed: int) -> list[str]:
    """Return the names of a listing in shuffled order, with every prefix balanced over the classes.

    split: train or test, for the error
    keep:  maximum number of names; a smaller selection is a prefix of a larger one; None: all
    Raises StudyError if keep is smaller than the number of classes.
    """
    shuffled = _shuffled(listing, seed=seed, use="rows")
    if keep is not None and keep < len(shuffled):
        raise StudyError(
            f"params.yaml: data.max_{split}_images is {keep}, below the number of classes; set it to "
            f"{len(shuffled)} or more"
        )
    ranked = [(rank, label, name) for label, names in shuffled.items() for rank, name in enumerate(names)]
    return [name for _, _, name in sorted(ranked)][:keep]


def read_images(
    listing: Listing,
    names: Collection[str],
    *,
    image_size: int,
    threads: int,
    ranges: Mapping[str, Range] | None = None,
    whole: bool = False,
) -> Iterator[tuple[str, Decoded | Extremes | Unreadable]]:
    """Read and decode images, in the order of the source.

    image_size: side in px
    threads:    number of decoding threads
    ranges:     value ranges for images of more than 8 bits, by kind; other images give their extremes
    whole:      also return the whole images, encoded
    """

    def attempt(content: Content) -> Decoded | Extremes | Unreadable:
        try:
            return decode(content, image_size=image_size, ranges=ranges, whole=whole)
        except Unreadable as error:
            return error

    contents = listing.read(names)
    with ThreadPoolExecutor(threads) as pool:
        while ahead := list(islice(contents, READ_AHEAD)):
            decoded = pool.map(attempt, [content for _, content in ahead])
            yield from zip([name for name, _ in ahead], decoded, strict=True)


def read_in_range(
    listing: Listing, names: Collection[str], *, image_size: int, threads: int, ranges: Mapping[str, Range]
) -> Iterator[tuple[str, Decoded | Unreadable]]:
    """Read and decode images as read_images does; images without a range get their common range."""
    extremes = {}
    for name, image in read_images(listing, names, image_size=image_size, threads=threads, ranges=ranges):
        if isinstance(image, Extremes):
            extremes[name] = image
        else:
            yield name, image
    if extremes:
        common = common_ranges(extremes.values())
        for name, image in read_images(
            listing, extremes, image_size=image_size, threads=threads, ranges=common
        ):
            assert not isinstance(image, Extremes)
            yield name, image


def some(names: Collection[str], most: int = 5) -> str:
    """Return the first names of a list in words, with the number of further names."""
    listed = ", ".join(sorted(names)[:most]) or "none"
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed


def _shuffled(listing: Listing, *, seed: int, use: str) -> dict[str, list[str]]:
    """Return the names of each class in an order independent of other images and of parent folders."""
    by_class = defaultdict(list)
    for name, label in listing.classes.items():
        key = derive(seed, use, label, name.rpartition("/")[2])
        by_class[label].append((key, name))
    return {label: [name for _, name in sorted(by_class[label])] for label in sorted(by_class)}
