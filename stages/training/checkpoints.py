"""State of a training on disk, so that a killed run goes on where it was."""

import shutil
from pathlib import Path
from typing import Any

import torch

from stages.study.paths import file_digest, scratch, writing


class Checkpoints:
    """The checkpoints of one training, one file an epoch, the last two kept.

    They lie in scratch/<stage>-<fingerprint>/, outside the outs that DVC deletes before it runs a stage. The
    fingerprint names all that the result depends on, so a checkpoint found there always fits. The last one
    stays when the training has ended: running the same training again then only reads it.
    """

    def __init__(self, stage: str, fingerprint: str) -> None:
        self.stage = stage
        self.directory = scratch() / f"{stage}-{fingerprint}"

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after an epoch, whole or not at all, and drop all but the newest two."""
        path = self.directory / f"epoch-{epoch:05d}.pt"
        with writing(path) as temporary:
            torch.save(state, temporary)
            checksum = file_digest(temporary)
        with writing(path.with_suffix(".sha256")) as temporary:
            temporary.write_text(checksum)
        for old in self._files()[:-2]:
            old.unlink()
            old.with_suffix(".sha256").unlink(missing_ok=True)

    def latest(self) -> dict[str, Any] | None:
        """The newest whole state; damaged files are set aside with a message."""
        for path in reversed(self._files()):
            checksum = path.with_suffix(".sha256")
            if checksum.exists() and checksum.read_text() == file_digest(path):
                return torch.load(path, map_location="cpu", weights_only=True)
            path.rename(path.with_suffix(".damaged"))
            print(f"{self.stage}: {path} is damaged, set aside as .damaged", flush=True)
        return None

    def finish(self) -> None:
        """Mark this training as ended and drop earlier ended ones of the same stage."""
        self.directory.mkdir(parents=True, exist_ok=True)  # a training of no epochs has saved nothing
        (self.directory / "ended").touch()
        for other in self.directory.parent.glob(f"{self.stage}-{'?' * 16}"):
            if other != self.directory and (other / "ended").exists():
                shutil.rmtree(other)

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("epoch-*.pt"))
