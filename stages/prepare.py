"""Stage prepare: decode or draw the images once into the memory-mapped arrays of data/prepared/."""

import os
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
from stages.data.shapes_textures import generate
from stages.data.templates import SHAPES, TEXTURES
from stages.data.writer import SplitWriter, write_manifest
from stages.study.command import run
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.paths import DATA, writing


def main() -> None:
    """Prepare data/prepared/ as params.yaml says."""
    run("prepare", prepare, writes=DATA)


def prepare() -> str:
    """Write data/prepared/ and say what it holds.

    Raises StudyError if the source is missing, broken, or has too many unreadable images.
    """
    params = load_params(stage="prepare")
    data = params.data
    threads = params.runtime.threads or os.cpu_count() or 1
    with writing(DATA) as directory:
        if data.source == "shapes_textures":
            manifest = draw_images(directory, data=data, seed=params.seed)
        else:
            manifest = decode_images(directory, data=data, seed=params.seed, threads=threads)
    train, test = (manifest.splits[split].images for split in SPLITS)
    said = f"{train} train and {test} test images of {manifest.source}, {manifest.image_size} px"
    unreadable = len(manifest.unreadable)
    return f"{said}; {unreadable} unreadable (listed in {DATA}/manifest.json)" if unreadable else said


def draw_images(directory: Path, *, data: Data, seed: int) -> Manifest:
    """Draw the built-in images into an empty directory."""
    params, size = data.shapes_textures, data.image_size
    labels = {"shape": SHAPES, "texture": TEXTURES}
    asked = (params.train_images, data.max_train_images), (params.test_images, data.max_test_images)
    for split, (images, most) in zip(SPLITS, asked, strict=True):
        count, row = min(images, most or images), 0
        writer = SplitWriter(
            directory / split, rows=count, image_size=size, labels=list(labels), masks=["masks"]
        )
        with tqdm(total=count, desc=split, unit=" images", disable=None) as progress:
            for batch in generate(split, count=count, image_size=size, seed=seed, params=params):
                writer.put(row + np.arange(len(batch.images)), **batch._asdict())
                row += len(batch.images)
                progress.update(len(batch.images))
        writer.close()
    return write_manifest(directory, source=data.source, image_size=size, labels=labels)


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


if __name__ == "__main__":
    main()
