"""The images of a real source and their masks, decoded into memory-mapped arrays."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.data.arrays import SPLITS, Manifest
from stages.data.decode import SIDEWAYS, UPRIGHT, Decoded
from stages.data.deep import REAL, WHOLE, Extremes, Range, Unreadable, common_ranges
from stages.data.listings import Listing
from stages.data.masks import Mask, read_masks
from stages.data.readers import find_images, read_images, row_order, some
from stages.data.record import Record
from stages.data.settings import Data, Masks
from stages.data.sources import located
from stages.data.writer import SplitWriter, write_manifest
from stages.study.errors import StudyError

NO_MASK = "no mask that can be read"


def decode_images(directory: Path, *, data: Data, seed: int, threads: int) -> Manifest:
    """Decode the images of a real source into an empty directory.

    Raises StudyError if more than data.max_unreadable of them cannot be read, or all of a class.
    """
    splits = find_images(data, seed=seed)
    assert splits.test is not None
    train = SplitDecoder(directory / "train", splits.train, data=data, seed=seed, keep=data.max_train_images)
    test = SplitDecoder(directory / "test", splits.test, data=data, seed=seed, keep=data.max_test_images)
    decoders = (train, test)
    if data.masks:
        # Masks of a source with two splits lie together, so names of both tell them apart.
        together = [*splits.train.classes, *(() if data.test_source else splits.test.classes)]
        train.write_masks(together, source=data.masks.source)
        of_test = together if not data.test_source else [*splits.test.classes]
        test.write_masks(of_test, source=data.masks.test_source or data.masks.source)
    ranges: dict[str, Range] = {}
    if data.value_range:
        ranges = dict.fromkeys((WHOLE, REAL), data.value_range)
    with warnings.catch_warnings():
        # What is wrong with a file is said once, below and in the record.
        warnings.filterwarnings("ignore", module="PIL")
        warnings.filterwarnings("ignore", module="torchvision")  # its decoder will move to another package
        for decoder in decoders:
            decoder.decode(ranges, threads=threads)
        extremes = [image for decoder in decoders for image in decoder.deep.values()]
        found = common_ranges(extremes)
        for decoder in decoders:
            decoder.decode(ranges | found, threads=threads, names=decoder.deep)
    # Names are relative to their source, so those of a second source need its name before them.
    prefix = f"{data.test_source}/" if data.test_source else ""
    unreadable = train.unreadable | {prefix + name: why for name, why in test.unreadable.items()}
    refuse_too_few(decoders, unreadable, data=data)
    for decoder in decoders:
        decoder.writer.close()
    notes = [*splits.notes]
    for kind, (low, high) in found.items():
        count = sum(image.kind == kind for image in extremes)
        images = f"{count} image{'s' * (count > 1)}"
        notes.append(f"{low:g} is black and {high:g} white in {images} of {kind} (data.value_range)")
    skipped = dict(splits.skipped)
    Record(unreadable=unreadable, skipped=skipped, ranges=ranges | found, notes=notes).save(directory)
    return write_manifest(
        directory,
        source=data.source,
        image_size=data.image_size,
        labels={"class": train.names},
        unreadable=sorted(unreadable),
        converted=train.converted + test.converted,
    )


class SplitDecoder:
    """Decodes the images of one split into its arrays, with their masks."""

    def __init__(self, folder: Path, listing: Listing, *, data: Data, seed: int, keep: int | None) -> None:
        """
        folder: of the arrays; listing: the images
        keep:   how many of them at most; None: all
        """
        self.data, self.listing = data, listing
        self.names = sorted(set(listing.classes.values()))
        self.rows = {name: row for row, name in enumerate(row_order(listing, keep=keep, seed=seed))}
        self.writer = SplitWriter(
            folder,
            rows=len(self.rows),
            image_size=data.image_size,
            labels=["class"],
            masks=["masks", "ignored"] if data.masks else (),
        )
        self.masks: dict[str, tuple[int, int]] = {}  # (W, H) of each mask
        self.pairing: tuple[Collection[str], str] = ((), "")  # names of images that have masks, and where
        self.deep: dict[str, Extremes] = {}  # images that wait for a common range
        self.unreadable: dict[str, str] = {}  # reasons
        self.converted: Counter[str] = Counter()

    def decode(
        self, ranges: Mapping[str, Range], *, threads: int, names: Collection[str] | None = None
    ) -> None:
        """Decode these images, or all; those of more than 8 bits whose range is not known are kept back."""
        wanted = self.rows if names is None else names
        if not wanted:
            return
        split, sideways = self.writer.folder.name, {}
        images = read_images(
            self.listing, wanted, image_size=self.data.image_size, threads=threads, ranges=ranges
        )
        for name, image in tqdm(images, total=len(wanted), desc=split, unit=" images", disable=None):
            if isinstance(image, Extremes):
                self.deep[name] = image
                continue
            if isinstance(image, Unreadable):
                self.unreadable[name] = f"{image}"
                continue
            if why := self.data.masks and misfit(image, self.masks.get(name), self.data.masks, name=name):
                if why != TURNED:
                    self.unreadable[name] = why
                    continue
                sideways[name] = image.orientation
            label = np.array([self.names.index(self.listing.classes[name])])
            self.writer.put(np.array([self.rows[name]]), images=image.pixels[None], **{"class": label})
            self.converted.update(image.converted)
        if sideways:
            for name, mask in self.read_masks(sideways):
                self.put_mask(name, mask)

    def write_masks(self, images: Collection[str], *, source: str) -> None:
        """Write the masks of the split.

        images: names of all images whose masks may be in the source
        Raises StudyError if the source is missing or broken, the images are known by numbers, or no mask has
        an object.
        """
        refuse_numbers(self.data)
        self.pairing = (images, source)
        objects = 0
        for name, mask in self.read_masks(dict.fromkeys(self.rows, UPRIGHT)):
            self.put_mask(name, mask)
            self.masks[name] = mask.size
            objects += int(mask.object.any())
        if self.masks and not objects:
            raise StudyError(
                f"params.yaml: data.masks: {source}: no pixel of {len(self.masks)} masks is object; say in "
                "data.masks.object which values are"
            )

    def read_masks(self, orientations: Mapping[str, int]) -> Iterator[tuple[str, Mask]]:
        """Read the masks of these images, each turned from this orientation."""
        assert self.data.masks is not None
        images, source = self.pairing
        settings, size = self.data.masks, self.data.image_size
        return read_masks(orientations, images=images, source=source, settings=settings, image_size=size)

    def put_mask(self, name: str, mask: Mask) -> None:
        """Write a mask into the row of its image."""
        row = np.array([self.rows[name]])
        self.writer.put(row, masks=mask.object[None], ignored=mask.ignored[None])


TURNED = "drawn on the image as it is stored"


def misfit(image: Decoded, size: tuple[int, int] | None, settings: Masks, *, name: str) -> str:
    """Return why a mask does not fit its image, TURNED if it is to be turned as the image was, or nothing.

    size: (W, H) of the mask; None: there is none
    Raises StudyError if a mask could be either and data.masks.turned does not say which.
    """
    if size is None:
        return NO_MASK
    stored = image.size[::-1] if image.orientation in SIDEWAYS else image.size
    if size not in (image.size, stored):
        return f"a mask of {size[0]} x {size[1]} pixels for {image.size[0]} x {image.size[1]}"
    if image.orientation == UPRIGHT or (size != stored and settings.turned is None):
        return ""
    if size != image.size and settings.turned is None:
        return TURNED
    if settings.turned is None:
        raise StudyError(
            f"data.masks: EXIF turns the image {name}, and its mask may be drawn on the turned image or not; "
            "say which in data.masks.turned (true: masks are turned as their images are)"
        )
    expected = stored if settings.turned else image.size
    if size != expected:
        return f"a mask of {size[0]} x {size[1]} pixels, not {expected[0]} x {expected[1]}"
    return TURNED if settings.turned else ""


def refuse_numbers(data: Data) -> None:
    """Refuse masks of images that have no names. Raises StudyError."""
    if not located(data.source):
        raise StudyError(
            f"params.yaml: data.masks: the images of {data.source} have no names that masks could share; "
            "name a folder or tar in data.source"
        )


def refuse_too_few(decoders: Collection[SplitDecoder], unreadable: Mapping[str, str], *, data: Data) -> None:
    """Refuse a source of which too much cannot be read.

    Raises StudyError with names of files, or of classes that would have no image.
    """
    total = sum(len(decoder.rows) for decoder in decoders)
    reasons = ", ".join(f"{count} {why}" for why, count in Counter(unreadable.values()).most_common(3))
    if len(unreadable) > data.max_unreadable * total:
        what = "cannot be read, or have no mask of their size," if data.masks else "cannot be read,"
        raise StudyError(
            f"data.source {data.source}: {len(unreadable)} of {total} images {what} more than "
            f"data.max_unreadable {data.max_unreadable:g} allows ({reasons}): {some(unreadable, most=10)}"
        )
    for split, decoder in zip(SPLITS, decoders, strict=True):
        read = {decoder.listing.classes[name] for name in decoder.rows if name not in decoder.unreadable}
        if lost := sorted(set(decoder.names) - read):
            raise StudyError(
                f"data.source {data.source}: {len(lost)} of {len(decoder.names)} classes have no {split} "
                f"image that can be read: {some(lost)} ({reasons})"
            )
