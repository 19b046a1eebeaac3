"""The encoder on the way: kept after shares of a training, beside its checkpoints."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.study.errors import StudyError
from stages.study.paths import snapshot_dir, writing


@dataclass(frozen=True)
class Snapshots:
    """The encoders that one training keeps before its end.

    directory: of the training in the store
    steps:     share of the training -> how many steps are done then
    save:      writes the encoder as it is into a folder, given the share
    """

    directory: Path
    steps: Mapping[float, int]
    save: Callable[[Path, float], None]

    def after_step(self, done: int) -> None:
        """Keep the encoder if this many steps are a share asked for.

        Steps that a killed run has lost are done again, and then write the same bytes again. Each is whole
        before the checkpoint of its epoch is written, so a run that goes on lacks none.
        """
        for share, steps in self.steps.items():
            if steps == done:
                with writing(snapshot_dir(self.directory, share)) as folder:
                    self.save(folder, share)

    def copy_to(self, result: Path) -> None:
        """Copy all of them into the result of the training.

        Raises StudyError if somebody has removed one.
        """
        for share in self.steps:
            folder = snapshot_dir(self.directory, share)
            if not folder.is_dir():
                raise StudyError(
                    f"{folder} is gone and cannot be made afterwards; remove {self.directory} to train anew"
                )
            shutil.copytree(folder, snapshot_dir(result, share))


def snapshot_steps(shares: Sequence[float], *, steps: int) -> dict[float, int]:
    """Return how many steps are done at each share of a training: the nearest whole number, from 1.

    shares: above 0 and below 1; steps: of the whole training; without any, nothing is kept
    """
    return {share: max(1, round(share * steps)) for share in shares} if steps else {}
