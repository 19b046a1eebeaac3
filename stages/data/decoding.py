"""Decode the images of a real source and their masks into memory-mapped arrays."""

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
from stages.data.masks import Mask, read_masks, refuse_shared
from stages.data.photograph_writer import PhotographWriter
from stages.data.readers import find_images, read_images, row_order, some
from stages.data.record import Record
from stages.data.settings import Data, Masks
from stages.data.sources import located
from stages.data.writer import SplitWriter, write_manifest
from stages.study.errors import StudyError

NO_MASK = "no readable mask"


def decode_images(directory: Path, *, data: Data, seed: int, threads: int) -> Manifest:
    """Decode the images of a real source into an empty directory.

    Raises StudyError if more than data.max_unreadable of the images are unreadable, or all images of a class,
    or if masks match images of both splits.
    """
    splits = find_images(data, seed=seed)
    assert splits.test is not None
    if data.masks and data.test_source and not data.masks.test_source:
        refuse_numbers(data)
        refuse_shared(splits.train.classes, splits.test.classes, source=data.masks.source)
    whole = data.store == "photographs"
    train = SplitDecoder(
        directory / "train", splits.train, data=data, seed=seed, keep=data.max_train_images, whole=whole
    )
    test = SplitDecoder(directory / "test", splits.test, data=data, seed=seed, keep=data.max_test_images)
    decoders = (train, test)
    if data.masks:
        # If one source holds both splits, one folder holds the masks of both; all names are then paired.
        names = [*splits.train.classes, *(() if data.test_source else splits.test.classes)]
        train.write_masks(names, source=data.masks.source)
        test_names = names if not data.test_source else [*splits.test.classes]
        test.write_masks(test_names, source=data.masks.test_source or data.masks.source)
    ranges: dict[str, Range] = {}
    if data.value_range:
        ranges = dict.fromkeys((WHOLE, REAL), data.value_range)
    with warnings.catch_warnings():
        # Problems with a file are reported once, below and in the record.
        warnings.filterwarnings("ignore", module="PIL")
        warnings.filterwarnings("ignore", module="torchvision")  # announces that its decoder will move
        for decoder in decoders:
            decoder.decode(ranges, threads=threads)
        extremes = [image for decoder in decoders for image in decoder.deep.values()]
        measured = common_ranges(extremes)
        for decoder in decoders:
            decoder.decode(ranges | measured, threads=threads, names=decoder.deep)
    # Names are relative to their source, so names from a second source get its name as a prefix.
    prefix = f"{data.test_source}/" if data.test_source else ""
    unreadable = train.unreadable | {prefix + name: why for name, why in test.unreadable.items()}
    refuse_too_few(decoders, unreadable, data=data)
    for decoder in decoders:
        decoder.close()
    notes = [*splits.notes]
    for kind, (low, high) in measured.items():
        count = sum(image.kind == kind for image in extremes)
        images = f"{count} image{'s' * (count > 1)}"
        notes.append(f"{low:g} is black and {high:g} white in {images} of {kind} (data.value_range)")
    skipped = dict(splits.skipped)
    Record(unreadable=unreadable, skipped=skipped, ranges=ranges | measured, notes=notes).save(directory)
    return write_manifest(
        directory,
        source=data.source,
        image_size=data.image_size,
        labels={"class": train.names},
        unreadable=sorted(unreadable),
        converted=train.converted + test.converted,
    )


class SplitDecoder:
    """Decodes the images of one split, with their masks, into the arrays of the split."""

    def __init__(
        self,
        folder: Path,
        listing: Listing,
        *,
        data: Data,
        seed: int,
        keep: int | None,
        whole: bool = False,
    ) -> None:
        """
        folder:  of the arrays; its name is the name of the split
        listing: the images
        keep:    maximum number of images to decode; None: all
        whole:   also store the original photographs
        """
        self.data, self.listing = data, listing
        self.names = sorted(set(listing.classes.values()))
        names = row_order(listing, split=folder.name, keep=keep, seed=seed)
        self.rows = {name: row for row, name in enumerate(names)}
        self.writer = SplitWriter(
            folder,
            rows=len(self.rows),
            image_size=data.image_size,
            labels=["class"],
            masks=["masks", "ignored"] if data.masks else (),
            photographs=whole,
        )
        self.photographs = PhotographWriter(folder) if whole else None
        self.masks: dict[str, tuple[int, int]] = {}  # (W, H) of each mask
        self.pairing: tuple[Collection[str], str] = ((), "")  # names of images with masks, and their source
        self.deep: dict[str, Extremes] = {}  # images that wait for a common range
        self.unreadable: dict[str, str] = {}  # name to reason
        self.converted: Counter[str] = Counter()

    def decode(
        self, ranges: Mapping[str, Range], *, threads: int, names: Collection[str] | None = None
    ) -> None:
        """Decode the named images, or all; images of more than 8 bits without a range wait in `deep`."""
        wanted = self.rows if names is None else names
        if not wanted:
            return
        split, sideways = self.writer.folder.name, {}
        images = read_images(
            self.listing,
            wanted,
            image_size=self.data.image_size,
            threads=threads,
            ranges=ranges,
            whole=self.photographs is not None,
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
            arrays = {"class": np.array([self.names.index(self.listing.classes[name])])}
            if self.photographs and image.encoded:
                arrays["photographs"] = np.array([self.photographs.append(image.encoded)])
            self.writer.put(np.array([self.rows[name]]), images=image.pixels[None], **arrays)
            self.converted.update(image.converted)
        if sideways:
            for name, mask in self.read_masks(sideways):
                self.put_mask(name, mask)

    def write_masks(self, images: Collection[str], *, source: str) -> None:
        """Write the masks of the split.

        images: names of all images whose masks may be in the source
        Raises StudyError if the source is missing or broken, images have no names, or no mask has an object.
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
                f"params.yaml: data.masks: {source}: none of {len(self.masks)} masks has an object pixel; "
                "set data.masks.object to the values that mark objects"
            )

    def close(self) -> None:
        """Finish the files of the split."""
        if self.photographs:
            self.photographs.close()
        self.writer.close()

    def read_masks(self, orientations: Mapping[str, int]) -> Iterator[tuple[str, Mask]]:
        """Read the masks of these images; each mask is rotated upright from the given EXIF orientation."""
        assert self.data.masks is not None
        images, source = self.pairing
        settings, size = self.data.masks, self.data.image_size
        return read_masks(orientations, images=images, source=source, settings=settings, image_size=size)

    def put_mask(self, name: str, mask: Mask) -> None:
        """Write a mask into the row of its image."""
        row = np.array([self.rows[name]])
        self.writer.put(row, masks=mask.object[None], ignored=mask.ignored[None])


TURNED = "drawn on the unrotated image"


def misfit(image: Decoded, size: tuple[int, int] | None, settings: Masks, *, name: str) -> str:
    """Return why a mask does not fit its image: TURNED if it needs the image's rotation, empty if it fits.

    size: (W, H) of the mask; None: no mask
    Raises StudyError if the size fits both orientations and data.masks.turned is not set.
    """
    if size is None:
        return NO_MASK
    stored = image.size[::-1] if image.orientation in SIDEWAYS else image.size
    if size not in (image.size, stored):
        return f"mask of {size[0]} x {size[1]} pixels for an image of {image.size[0]} x {image.size[1]}"
    if image.orientation == UPRIGHT or (size != stored and settings.turned is None):
        return ""
    if size != image.size and settings.turned is None:
        return TURNED
    if settings.turned is None:
        raise StudyError(
            f"data.masks: EXIF rotates the image {name}, and its mask fits with and without this rotation; "
            "set data.masks.turned (true: masks are rotated like their images)"
        )
    expected = stored if settings.turned else image.size
    if size != expected:
        return f"mask of {size[0]} x {size[1]} pixels, not {expected[0]} x {expected[1]}"
    return TURNED if settings.turned else ""


def refuse_numbers(data: Data) -> None:
    """Refuse masks for images without names. Raises StudyError."""
    if not located(data.source):
        raise StudyError(
            f"params.yaml: data.masks: the images of {data.source} have no names to match masks by; "
            "set data.source to a folder or tar"
        )


def refuse_too_few(decoders: Collection[SplitDecoder], unreadable: Mapping[str, str], *, data: Data) -> None:
    """Refuse a source with too many unreadable images.

    Raises StudyError, which names the files, or the classes that would have no image.
    """
    total = sum(len(decoder.rows) for decoder in decoders)
    reasons = ", ".join(f"{count} {why}" for why, count in Counter(unreadable.values()).most_common(3))
    if len(unreadable) > data.max_unreadable * total:
        problem = "are unreadable or have no matching mask" if data.masks else "are unreadable"
        raise StudyError(
            f"data.source {data.source}: {len(unreadable)} of {total} images {problem}, more than "
            f"data.max_unreadable {data.max_unreadable:g} allows ({reasons}): {some(unreadable, most=10)}; "
            "fix or remove them, or raise data.max_unreadable"
        )
    for split, decoder in zip(SPLITS, decoders, strict=True):
        read = {decoder.listing.classes[name] for name in decoder.rows if name not in decoder.unreadable}
        if lost := sorted(set(decoder.names) - read):
            raise StudyError(
                f"data.source {data.source}: {len(lost)} of {len(decoder.names)} classes have no readable "
                f"{split} image: {some(lost)} ({reasons}); add images or remove the classes"
            )
