"""Images that the user names, such as those of Geirhos et al. 2019."""

import re
from collections.abc import Iterator

import numpy as np
import torch

from stages.corruptions.settings import Stimuli
from stages.data.arrays import Manifest, unit_range
from stages.data.deep import Unreadable
from stages.data.listings import list_images
from stages.data.readers import read_in_range, some
from stages.data.record import read_record
from stages.study.errors import StudyError
from stages.study.study import Study
from stages.trials.corrupted import BATCH, Trial

# airplane1-bicycle2: the shape of one, the texture of the other
CUES = re.compile(r"([a-z]+)\d*-([a-z]+)\d*")


def stimuli(params: Study, manifest: Manifest) -> Iterator[Trial]:
    """Images that the user names, of those classes that the data have as well.

    A file name such as airplane1-bicycle2.png says that the shape is of one class and the texture of another.
    Raises StudyError if a class that they are mapped to does not exist, or if an image cannot be read.
    """
    for name, asked in params.robustness.stimuli.items():
        where = f"params.yaml: robustness.stimuli.{name}"
        labels, classes = known_classes(asked, manifest, where=where)
        listing = list_images(asked.source)
        wanted = sorted(file for file, label in listing.classes.items() if label in classes)
        if not wanted:
            raise StudyError(f"{where}: {asked.source} has no folder named {some(list(classes))}")
        read = {
            file: decoded.pixels
            for file, decoded in read_in_range(
                listing, wanted, image_size=manifest.image_size, threads=1, ranges=read_record().ranges
            )
            if not isinstance(decoded, Unreadable)
        }
        if broken := [file for file in wanted if file not in read]:
            raise StudyError(f"{where}: cannot read {some(broken)}")
        pixels = torch.from_numpy(np.stack([read[file] for file in wanted])).permute(0, 3, 1, 2)
        textures = [CUES.match(file.rpartition("/")[2]) for file in wanted]
        rival = np.array([classes.get(found[2], -1) if found else -1 for found in textures])
        truth = np.array([classes[listing.classes[file]] for file in wanted])
        yield Trial(
            name,
            0.0,
            0.0,
            np.arange(len(wanted)),
            {labels: truth},
            {labels: rival} if (rival >= 0).any() else {},
            iter(unit_range(pixels).split(BATCH)),
        )


def known_classes(asked: Stimuli, manifest: Manifest, *, where: str) -> tuple[str, dict[str, int]]:
    """The label set that stimuli are told in, and the class of each of their own names.

    Raises StudyError if no label set has all the classes that they are mapped to.
    """
    for labels, names in manifest.labels.items():
        if set(asked.classes.values()) <= set(names):
            return labels, {theirs: names.index(ours) for theirs, ours in asked.classes.items()}
    unknown = set(asked.classes.values()) - {name for names in manifest.labels.values() for name in names}
    raise StudyError(
        f"{where}.classes: the data have no class {some(unknown)}; see data/prepared/manifest.json"
    )
