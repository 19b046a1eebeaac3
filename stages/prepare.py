"""Stage prepare: decode or draw the images once into the memory-mapped arrays of data/prepared/."""

import os

from stages.data.arrays import SPLITS
from stages.data.decoding import decode_images
from stages.data.drawing import draw_images
from stages.study.command import run
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


if __name__ == "__main__":
    main()
