"""Draw the built-in images into memory-mapped arrays."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.data.arrays import SPLITS, Manifest
from stages.data.settings import Data
from stages.data.shapes_textures import generate
from stages.data.templates import SHAPES, TEXTURES
from stages.data.writer import SplitWriter, write_manifest


def draw_images(directory: Path, *, data: Data, seed: int) -> Manifest:
    """Draw the built-in images into an empty directory."""
    params, size = data.shapes_textures, data.image_size
    labels = {"shape": SHAPES, "texture": TEXTURES}
    sizes = (params.train_images, data.max_train_images), (params.test_images, data.max_test_images)
    for split, (images, most) in zip(SPLITS, sizes, strict=True):
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
