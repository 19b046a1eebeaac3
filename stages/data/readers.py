"""Real images: which to train on, which to hold out, in which order, and their pixels."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from stages.data.decode import Decoded, decode
from stages.data.deep import Extremes, Range, Unreadable, common_ranges
from stages.data.listings import Content, Listing, Splits, list_images, list_splits
from stages.data.named import is_name, list_named
from stages.data.settings import Data
from stages.data.sources import located
from stages.study.errors import StudyError
from stages.study.seeds import derive

READ_AHEAD = 64  # files in memory at a time


def find_images(data: Data, *, seed: int) -> Splits:
    """Return the training and the held-out images of data.source.

    Held out is data.test_source; else what lies beside train/ in test/, val/ and the like; else
    data.test_fraction of each class, the same images for the same seed.
    Raises StudyError if a source is missing or broken, or if the two do not have the same classes.
    """
    if located(data.source):
        splits = list_splits(data.source)
    elif is_name(data.source):
        splits = Splits(*list_named(data.source, root=data.root))
    else:
        raise StudyError(
            f"params.yaml: data.source {data.source!r}: no such file or folder; allowed are shapes_textures, "
            "a folder or tar with one folder per class, or a timm name such as torch/cifar10 or hfds/..."
        )
    train, test = splits.train, splits.test
    if data.test_source:
        test = list_images(data.test_source)
    if test is None:
        train, test = hold_out(train, fraction=data.test_fraction, seed=seed)
    of_train, of_test = set(train.classes.values()), set(test.classes.values())
    if of_train != of_test:
        raise StudyError(
            f"data.source {data.source}: training and test images differ in classes; "
            f"only in training: {some(of_train - of_test)}; only in test: {some(of_test - of_train)}"
        )
    if len(of_train) < 2:
        raise StudyError(f"data.source {data.source}: needs two classes or more, has only {some(of_train)}")
    return splits._replace(train=train, test=test)


def hold_out(listing: Listing, *, fraction: float, seed: int) -> tuple[Listing, Listing]:
    """Split a listing in two, of which the second has this share of each class, one image at least.

    Raises StudyError if a class has a single image.
    """
    held: set[str] = set()
    for label, names in _shuffled(listing, seed=seed, use="held out").items():
        if len(names) < 2:
            raise StudyError(f"class {label} has one image, so none can be held out; give data.test_source")
        held.update(names[: min(len(names) - 1, max(1, round(fraction * len(names))))])
    kept = {name: label for name, label in listing.classes.items() if name not in held}
    gone = {name: label for name, label in listing.classes.items() if name in held}
    return Listing(kept, listing.read), Listing(gone, listing.read)


def row_order(listing: Listing, *, keep: int | None, seed: int) -> list[str]:
    """The names of a listing in the order of their rows: shuffled, every beginning evenly over the classes.

    keep: how many at most, so that fewer are the first of more; None: all
    Raises StudyError if there are more classes than that.
    """
    shuffled = _shuffled(listing, seed=seed, use="rows")
    if keep is not None and keep < len(shuffled):
        raise StudyError(
            f"params.yaml: data.max_train_images or max_test_images {keep}: fewer than the classes"
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
) -> Iterator[tuple[str, Decoded | Extremes | Unreadable]]:
    """Read and decode images, in the order in which the source has them.

    image_size: pixels of a side; threads: how many decode at once
    ranges: of images of more than 8 bits; of an image whose kind is not among them its extremes are given
    """

    def attempt(content: Content) -> Decoded | Extremes | Unreadable:
        try:
            return decode(content, image_size=image_size, ranges=ranges)
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
    """Read and decode images as read_images does; those of no known range in the range of them all."""
    extremes = {}
    for name, image in read_images(listing, names, image_size=image_size, threads=threads, ranges=ranges):
        if isinstance(image, Extremes):
            extremes[name] = image
        else:
            yield name, image
    if extremes:
        known = common_ranges(extremes.values())
        for name, image in read_images(
            listing, extremes, image_size=image_size, threads=threads, ranges=known
        ):
            assert not isinstance(image, Extremes)
            yield name, image


def some(names: Collection[str], most: int = 5) -> str:
    """The first names of a list for people, and how many more there are."""
    listed = ", ".join(sorted(names)[:most]) or "none"
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed


def _shuffled(listing: Listing, *, seed: int, use: str) -> dict[str, list[str]]:
    """The names of each class, in an order that other images and folders above the class do not change."""
    by_class = defaultdict(list)
    for name, label in listing.classes.items():
        key = derive(seed, use, label, name.rpartition("/")[2])
        by_class[label].append((key, name))
    return {label: [name for _, name in sorted(by_class[label])] for label in sorted(by_class)}
