"""Save and load the state of a training, so that a killed run can resume."""

import time
from pathlib import Path
from typing import Any

import torch

from stages.study.errors import StudyError
from stages.study.paths import file_digest, write_text, writing

EVERY = 300  # seconds between checkpoints inside an epoch


class Checkpoints:
    """The checkpoints of one training: one file per epoch, of which the last two are kept.

    A training in parts of epochs (see parts.py) counts parts as epochs. It saves after every whole epoch, and
    inside an epoch every EVERY seconds.

    They lie in the training's folder of the store, not in an out, because DVC deletes outs before it runs a
    stage. The folder's name is the fingerprint of the training. Each file also holds this name, so that files
    copied from another training are recognised.
    """

    def __init__(self, stage: str, directory: Path) -> None:
        self.stage = stage  # name in progress lines
        self.directory = directory
        self.parts = 1  # of an epoch
        self.last = 0  # the last saved epoch of this process
        self.due = 0.0  # time from which an epoch's part is saved, in the seconds of time.monotonic

    def epoch(self, part: int) -> float:
        """Return the number of epochs in so many parts; a whole number as int."""
        return part // self.parts if part % self.parts == 0 else round(part / self.parts, 2)

    def progress(self, part: int, parts: int) -> str:
        """Return how many epochs of how many are done, in words."""
        return f"{self.epoch(part)}/{self.epoch(parts)}"

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after an epoch, whole or not at all, and delete all but the newest two.

        Raises StudyError if the disk is full; existing checkpoints stay.
        """
        if epoch % self.parts and time.monotonic() < self.due:
            return
        path = self.directory / f"epoch-{epoch:05d}.pt"
        sizes = [earlier.stat().st_size for earlier in self._files()]  # equal for all epochs of a training
        with writing(path, size=max(sizes, default=None)) as temporary:
            with temporary.open("wb") as file:
                torch.save({"training": self.directory.name, "state": state}, file)
            # Written before the checkpoint itself, so that a checkpoint never lacks its checksum.
            write_text(path.with_suffix(".sha256"), file_digest(temporary))
        for old in self._files()[:-2]:
            old.unlink()
            old.with_suffix(".sha256").unlink(missing_ok=True)
        self.last, self.due = epoch, time.monotonic() + EVERY

    def latest(self) -> dict[str, Any] | None:
        """Return the newest valid state of this training; rename invalid files and print a message."""
        files = self._files()
        while files:
            path = files.pop()
            try:
                state = self._read(path)
                self.last = int(path.stem.removeprefix("epoch-"))
                return state
            except StudyError as error:
                aside = path.rename(path.with_suffix(".aside"))
                then = f"resuming from {files[-1].name}" if files else "starting from the beginning"
                print(f"{self.stage}: {path} {error}; renamed to {aside.name}, {then}", flush=True)
        return None

    def _read(self, path: Path) -> dict[str, Any]:
        """Return the state in a file. Raises StudyError, which says what is wrong with the file."""
        checksum = path.with_suffix(".sha256")
        try:
            whole = checksum.read_bytes() == file_digest(path).encode()
        except FileNotFoundError:
            raise StudyError("has no checksum file") from None
        except OSError as error:
            raise StudyError(f"cannot be read: {error.strerror}") from None
        if not whole:
            raise StudyError("is damaged: its checksum differs")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)  # never runs code from the file
            training, state = content["training"], content["state"]
        except MemoryError:
            raise
        except Exception as error:  # torch raises many kinds for other content
            raise StudyError(f"is not a checkpoint of a training ({type(error).__name__})") from None
        if training != self.directory.name:
            raise StudyError(f"belongs to another training, {training!r}")
        return state

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("epoch-*.pt"), key=lambda path: int(path.stem.partition("-")[2]))
