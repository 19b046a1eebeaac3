"""The images of a real source and their masks, decoded into memory-mapped arrays."""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.data.arrays import SPLITS, Manifest
from stages.data.listings import located
from stages.data.masks import read_masks
from stages.data.readers import find_images, read_images, row_order, some
from stages.data.settings import Data
from stages.data.writer import SplitWriter, write_manifest
from stages.study.errors import StudyError


def decode_images(directory: Path, *, data: Data, seed: int, threads: int) -> Manifest:
    """Decode the images of a real source into an empty directory.

    Raises StudyError if more than data.max_unreadable of them cannot be read.
    """
    listings = dict(zip(SPLITS, find_images(data, seed=seed), strict=True))
    classes = sorted(set(listings["train"].classes.values()))
    keep = {"train": data.max_train_images, "test": data.max_test_images}
    # Names are relative to their source, so those of a second source need its name before them.
    prefix = {"train": "", "test": f"{data.test_source}/" if data.test_source else ""}
    unreadable: set[str] = set()
    converted: Counter[str] = Counter()
    writers, total = [], 0
    for split, listing in listings.items():
        order = row_order(listing, keep=keep[split], seed=seed)
        rows = {name: row for row, name in enumerate(order)}
        writer = SplitWriter(
            directory / split,
            rows=len(order),
            image_size=data.image_size,
            labels=["class"],
            masks=["masks", "ignored"] if data.masks else (),
        )
        sizes = {}
        if data.masks:
            together = listings.values() if not data.test_source else [listing]
            sizes = write_masks(
                writer,
                rows,
                images=[name for each in together for name in each.classes],
                source=(data.masks.test_source if split == "test" else None) or data.masks.source,
                data=data,
            )
        decoded = read_images(listing, order, image_size=data.image_size, threads=threads)
        with warnings.catch_warnings():
            # What is wrong with a file is said once, below and in the manifest.
            warnings.filterwarnings("ignore", module="PIL")
            for name, image in tqdm(decoded, total=len(order), desc=split, unit=" images", disable=None):
                if image is None or (data.masks and sizes.get(name) != image.size):
                    unreadable.add(prefix[split] + name)
                    continue
                label = np.array([classes.index(listing.classes[name])])
                writer.put(np.array([rows[name]]), images=image.pixels[None], **{"class": label})
                converted.update(image.converted)
        writers.append(writer)
        total += len(order)
    if len(unreadable) > data.max_unreadable * total:
        what = "cannot be read, or have no mask of their size," if data.masks else "cannot be read,"
        raise StudyError(
            f"data.source {data.source}: {len(unreadable)} of {total} images {what} more than "
            f"data.max_unreadable {data.max_unreadable:g} allows: {some(unreadable, most=10)}"
        )
    for writer in writers:
        writer.close()
    return write_manifest(
        directory,
        source=data.source,
        image_size=data.image_size,
        labels={"class": classes},
        unreadable=sorted(unreadable),
        converted=converted,
    )


def write_masks(
    writer: SplitWriter, rows: dict[str, int], *, images: Sequence[str], source: str, data: Data
) -> dict[str, tuple[int, int]]:
    """Write the masks of the images in these rows, by name; and how large they were before, (W, H).

    images: names of all images whose masks may be in the source
    Raises StudyError if the source is missing or broken, the images are known by numbers, or no mask has an
    object.
    """
    assert data.masks is not None
    if not located(data.source):
        raise StudyError(
            f"params.yaml: data.masks: the images of {data.source} have no names that masks could share; "
            "name a folder or tar in data.source"
        )
    sizes, objects = {}, 0
    found = read_masks(rows, images=images, source=source, settings=data.masks, image_size=data.image_size)
    for name, mask in found:
        writer.put(np.array([rows[name]]), masks=mask.object[None], ignored=mask.ignored[None])
        sizes[name] = mask.size
        objects += int(mask.object.any())
    if sizes and not objects:
        raise StudyError(
            f"params.yaml: data.masks: {source}: no pixel of {len(sizes)} masks is object; say in "
            "data.masks.object which values are"
        )
    return sizes
