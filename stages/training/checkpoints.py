"""State of a training on disk, so that a killed run goes on where it was."""

from pathlib import Path
from typing import Any

import torch

from stages.study.errors import StudyError
from stages.study.paths import file_digest, write_text, writing


class Checkpoints:
    """The checkpoints of one training, one file an epoch, the last two kept.

    They lie in the training's folder of the store, outside the outs that DVC deletes before it runs a stage.
    The folder is named after all that the result depends on, and each file holds that name too, so that one
    copied there from elsewhere is told apart.
    """

    def __init__(self, stage: str, directory: Path) -> None:
        self.stage = stage  # as progress lines call it
        self.directory = directory

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after an epoch, whole or not at all, and drop all but the newest two.

        Raises StudyError if there is no room for it; those that are there stay.
        """
        path = self.directory / f"epoch-{epoch:05d}.pt"
        sizes = [earlier.stat().st_size for earlier in self._files()]  # of one training all are as large
        with writing(path, size=max(sizes, default=None)) as temporary:
            with temporary.open("wb") as file:
                torch.save({"training": self.directory.name, "state": state}, file)
            # Before the file itself, so that wherever the process is killed no checkpoint is without it.
            write_text(path.with_suffix(".sha256"), file_digest(temporary))
        for old in self._files()[:-2]:
            old.unlink()
            old.with_suffix(".sha256").unlink(missing_ok=True)

    def latest(self) -> dict[str, Any] | None:
        """The newest whole state of this training; files that hold none are set aside with a message."""
        files = self._files()
        while files:
            path = files.pop()
            try:
                return self._read(path)
            except StudyError as error:
                aside = path.rename(path.with_suffix(".aside"))
                then = f"going on from {files[-1].name}" if files else "starting from the beginning"
                print(f"{self.stage}: {path} {error}; set aside as {aside.name}, {then}", flush=True)
        return None

    def _read(self, path: Path) -> dict[str, Any]:
        """The state in a file. Raises StudyError saying what is wrong with it."""
        checksum = path.with_suffix(".sha256")
        try:
            whole = checksum.read_bytes() == file_digest(path).encode()
        except FileNotFoundError:
            raise StudyError("has no checksum beside it") from None
        except OSError as error:
            raise StudyError(f"cannot be read: {error.strerror}") from None
        if not whole:
            raise StudyError("is damaged: its checksum differs")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)  # never runs what is in it
            training, state = content["training"], content["state"]
        except MemoryError:
            raise
        except Exception as error:  # torch raises whatever the content makes it stumble over
            raise StudyError(f"is no checkpoint of a training ({type(error).__name__})") from None
        if training != self.directory.name:
            raise StudyError(f"is of another training, {training!r}")
        return state

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("epoch-*.pt"))
