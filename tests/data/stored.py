"""Small data directories, for the tests of this room."""

import numpy as np

from stages.data.writer import SplitWriter, write_manifest

SIZE = 5


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def write(directory, *, train, test, source="here"):
    for name, images in (("train", train), ("test", test)):
        writer = SplitWriter(directory / name, rows=len(images), image_size=SIZE, labels=["class"])
        writer.put(np.arange(len(images)), images=images, **{"class": np.arange(len(images)) % 2})
        writer.close()
    return write_manifest(directory, source=source, image_size=SIZE, labels={"class": ["a", "b"]})
