"""Stimuli: test images from other studies, such as those of Geirhos et al. 2019."""

import re
from collections.abc import Iterator

import numpy as np
import torch

from stages.corruptions.settings import Stimuli
from stages.corruptions.trials import BATCH, Trial
from stages.data.arrays import Manifest, unit_range
from stages.data.deep import Unreadable
from stages.data.listings import list_images
from stages.data.readers import read_in_range, some
from stages.data.record import read_record
from stages.study.errors import StudyError
from stages.study.study import Study

# airplane1-bicycle2: shape of an airplane, texture of a bicycle
CUES = re.compile(r"([a-z]+)\d*-([a-z]+)\d*")


def stimuli(params: Study, manifest: Manifest) -> Iterator[Trial]:
    """Yield a trial for every set of stimuli in params.yaml, with the images of mapped classes.

    In a file name such as airplane1-bicycle2.png, the first class is that of the shape and the second that of
    the texture.
    Raises StudyError if the data set lacks a mapped class, or if an image cannot be read.
    """
    for name, settings in params.robustness.stimuli.items():
        where = f"params.yaml: robustness.stimuli.{name}"
        labels, classes = mapped_classes(settings, manifest, where=where)
        listing = list_images(settings.source)
        files = sorted(file for file, label in listing.classes.items() if label in classes)
        if not files:
            raise StudyError(
                f"{where}.source: {settings.source} has no folder named {some(list(classes))}; "
                "correct source or the names under classes"
            )
        pixels_of = {
            file: decoded.pixels
            for file, decoded in read_in_range(
                listing, files, image_size=manifest.image_size, threads=1, ranges=read_record().ranges
            )
            if not isinstance(decoded, Unreadable)
        }
        if broken := [file for file in files if file not in pixels_of]:
            raise StudyError(f"{where}.source: cannot read {some(broken)}; repair or remove these images")
        pixels = torch.from_numpy(np.stack([pixels_of[file] for file in files])).permute(0, 3, 1, 2)
        cues = [CUES.match(file.rpartition("/")[2]) for file in files]
        rival = np.array([classes.get(cue[2], -1) if cue else -1 for cue in cues])
        truth = np.array([classes[listing.classes[file]] for file in files])
        yield Trial(
            name,
            0.0,
            0.0,
            np.arange(len(files)),
            {labels: truth},
            {labels: rival} if (rival >= 0).any() else {},
            (unit_range(batch) for batch in pixels.split(BATCH)),
        )


def mapped_classes(settings: Stimuli, manifest: Manifest, *, where: str) -> tuple[str, dict[str, int]]:
    """Return the label set that the stimuli use, and their folder names with the index of each class.

    Raises StudyError if no label set has all mapped classes.
    """
    for labels, names in manifest.labels.items():
        if set(settings.classes.values()) <= set(names):
            return labels, {theirs: names.index(ours) for theirs, ours in settings.classes.items()}
    unknown = set(settings.classes.values()) - {name for names in manifest.labels.values() for name in names}
    raise StudyError(
        f"{where}.classes: the data have no class {some(unknown)}; "
        "data/prepared/manifest.json lists the classes"
    )
