"""Save the encoder after given shares of a training, beside its checkpoints."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.study.errors import StudyError
from stages.study.paths import snapshot_dir, writing


@dataclass(frozen=True)
class Snapshots:
    """The copies of the encoder that one training saves before its end.

    directory: of the training in the store
    steps:     number of steps at each share of the training
    save:      writes the current encoder into a folder, given the share
    """

    directory: Path
    steps: Mapping[float, int]
    save: Callable[[Path, float], None]

    def after_step(self, done: int) -> None:
        """Save the encoder if this number of steps is one of the shares.

        Steps that a killed run has lost are repeated and write the same bytes again. A snapshot is complete
        before the checkpoint of its epoch is written, so a resumed run has all of them.
        """
        for share, steps in self.steps.items():
            if steps == done:
                with writing(snapshot_dir(self.directory, share)) as folder:
                    self.save(folder, share)

    def copy_to(self, result: Path) -> None:
        """Copy all snapshots into the result of the training.

        Raises StudyError if a snapshot was deleted.
        """
        for share in self.steps:
            folder = snapshot_dir(self.directory, share)
            if not folder.is_dir():
                raise StudyError(
                    f"{folder} is missing and cannot be restored; delete {self.directory} to train again"
                )
            shutil.copytree(folder, snapshot_dir(result, share))


def snapshot_steps(shares: Sequence[float], *, steps: int) -> dict[float, int]:
    """Return the number of steps at each share of a training, rounded, at least 1.

    shares: above 0 and below 1
    steps:  of the whole training; 0: there are no snapshots
    """
    return {share: max(1, round(share * steps)) for share in shares} if steps else {}
