"""Choose what pre-training reads: the stored squares, or the photographs that `prepare` kept (data.store).

The fingerprint of a training ignores this module. It covers the code in `entries` instead.
"""

from pathlib import Path
from typing import Any

from stages.data import arrays
from stages.data.arrays import Split
from stages.data.photograph_views import Photographs
from stages.data.photographs import INDEX
from stages.study.errors import StudyError
from stages.study.paths import DATA
from stages.training import loop
from stages.training.loop import History
from stages.training.parts import train_in_parts
from stages.training.task import Task

ENTRIES = ("stages.data.arrays.open_split", "stages.training.loop.train")
ENTRIES_OF_PHOTOGRAPHS = (
    "stages.data.photograph_views.photograph_batches",
    "stages.data.photograph_views.photograph_crop_flip",
    "stages.data.photograph_views.photographs_unit_range",
    "stages.data.photographs.Photographs",
    "stages.training.parts.train_in_parts",
)


def has_photographs(directory: Path = DATA) -> bool:
    """Return whether the training images were prepared as photographs."""
    return (directory / "train" / INDEX).exists()


def entries(directory: Path = DATA) -> tuple[str, ...]:
    """Return the dotted names of the code that the functions below lead to."""
    return (*ENTRIES, *(ENTRIES_OF_PHOTOGRAPHS if has_photographs(directory) else ()))


def open_split(name: str, directory: Path = DATA) -> Split:
    """Open a split as `arrays.open_split` does, with photographs as images if there are any.

    Raises StudyError if files are missing or incomplete.
    """
    split = arrays.open_split(name, directory)
    if name != "train" or not has_photographs(directory):
        return split
    photographs = Photographs(directory / name, image_size=split.images.shape[1])
    if len(photographs) != len(split.images):
        raise StudyError(f"{directory / name / INDEX}: does not match images.npy; run `dvc repro -f prepare`")
    return split._replace(images=photographs)  # type: ignore[arg-type]  # see stages.data.photograph_views


def train(task: Task, **options: Any) -> History:
    """Train a task as `loop.train` does; epochs of photographs are long, so they are trained in parts."""
    return (train_in_parts if has_photographs() else loop.train)(task, **options)
