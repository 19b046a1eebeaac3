"""The store of trainings: each is run once, whatever asks for it, and named by all that it depends on.

scratch/trainings/<fingerprint>/          while it trains: checkpoints, and the lock of the process at work
scratch/trainings/<fingerprint>/result/   what it left, sealed by training.json

The fingerprint names all that the numbers depend on: recipe, architecture, settings, data, seed and code.
An arm's name or label is not part of it, so a renamed arm finds its trainings again. The stages fill the
store, and so does `python -m stages.pretrain --arm NAME --seed N` on any machine that shares the folder; DVC
knows nothing of it. A stage collects what it needs into its out. The out is sealed as well, so that a clone
with an empty store finds its trainings there.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from stages.study.paths import file_digest, read_json, scratch, write_json, writing

SEAL = "training.json"
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Training:
    """One training, by its fingerprint."""

    fingerprint: str

    @property
    def directory(self) -> Path:
        """Return its folder in the store."""
        return scratch() / "trainings" / self.fingerprint

    @property
    def result(self) -> Path:
        """Return the folder of what it left."""
        return self.directory / "result"

    def ended(self) -> bool:
        """Return whether its whole result is in the store."""
        return is_whole(self.result, self.fingerprint)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time train this in the block; others say so once and wait for it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another process trains {self.fingerprint}; waiting for it", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def keep(self, write: Callable[[Path], None], **about: Any) -> None:
        """Write the result into the store, whole or not at all, sealed; its checkpoints go.

        write: puts the files into an empty folder
        about: what else the seal says of the training: seed, device, precision, versions
        """
        with writing(self.result) as temporary:
            temporary.mkdir(parents=True)
            write(temporary)
            seal(temporary, self.fingerprint, **about)
        for path in self.directory.iterdir():
            if path.name not in ("lock", "result") and path.suffix != ".aside":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def adopt(self, folder: Path) -> None:
        """Copy a sealed result from elsewhere into the store."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with writing(self.result) as temporary:
            shutil.copytree(folder, temporary)


def seal(folder: Path, fingerprint: str, **about: Any) -> None:
    """Write training.json: the fingerprint, and the SHA-256 of every file in the folder and below it."""
    files = {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / SEAL
    }
    write_json(folder / SEAL, {"fingerprint": fingerprint, "files": files} | about)


def sealed(folder: Path) -> str | None:
    """Return the fingerprint that the seal of a folder names; None if it has none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(read_json(folder / SEAL)["fingerprint"])
    return None


def is_whole(folder: Path, fingerprint: str) -> bool:
    """Return whether a folder holds the result of this training, every file as it was sealed."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        content = read_json(folder / SEAL)
        files = content["files"]
        return content["fingerprint"] == fingerprint and all(
            file_digest(folder / name) == digest for name, digest in files.items()
        )
    return False


def recover(trainings: Mapping[Key, Training], out: Path) -> list[Key]:
    """Return the keys of trainings that are neither in the store nor in an out; what an out has is adopted.

    trainings: by seed, or by whatever tells them apart
    out:       folder of the arm; those of other arms lie beside it, and one of them may have been renamed
    """
    lacking = []
    for key, training in trainings.items():
        if training.ended():
            continue
        folders = sorted(out.parent.glob("*/[0-9]*"), key=lambda folder: folder.parent != out)
        wanted = (folder for folder in folders if sealed(folder) == training.fingerprint)
        whole = next((folder for folder in wanted if is_whole(folder, training.fingerprint)), None)
        if whole is None:
            lacking.append(key)
        else:
            training.adopt(whole)
    return lacking


def collect(trainings: Mapping[Any, Training], out: Path) -> None:
    """Make the out of an arm what the store has of it: a folder for each training, and no other.

    trainings: by the name of the folder, which starts with the seed
    What the out held before is adopted by the store first, so that no training is lost.
    """
    for folder in out.glob("[0-9]*"):
        earlier = sealed(folder)
        if earlier is not None and not Training(earlier).ended() and is_whole(folder, earlier):
            Training(earlier).adopt(folder)
    with writing(out) as temporary:
        temporary.mkdir(parents=True)
        for name, training in trainings.items():
            shutil.copytree(training.result, temporary / f"{name}")


def stored() -> dict[str, dict[str, Any]]:
    """Return the seals of all trainings in the store that have ended, by fingerprint."""
    seals = {}
    for path in sorted((scratch() / "trainings").glob(f"*/result/{SEAL}")):
        with suppress(OSError, json.JSONDecodeError):
            seals[path.parent.parent.name] = read_json(path)
    return seals
