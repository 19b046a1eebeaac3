"""The store of trainings: each training runs once and is named by a fingerprint.

scratch/trainings/<fingerprint>/          during training: checkpoints and a lock
scratch/trainings/<fingerprint>/result/   the result, sealed by training.json

The fingerprint covers everything that the numbers depend on: recipe, architecture, settings, data, seed and
code. It does not cover the arm's name or label, so a renamed arm reuses its trainings. The stages fill the
store, and so does `python -m stages.pretrain --arm NAME --seed N` on any machine that shares the folder. DVC
does not track the store; a stage copies the trainings that it needs into its out. The out is sealed too, so
a clone with an empty store finds its trainings there.
"""

import json
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from stages.study.disk import make_folder
from stages.study.errors import StudyError
from stages.study.locks import lock
from stages.study.paths import (
    file_digest,
    model_dir,
    read_json,
    scratch,
    trained_seeds,
    write_json,
    writing,
)

SEAL = "training.json"
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Training:
    """One training, named by its fingerprint."""

    fingerprint: str

    @property
    def directory(self) -> Path:
        """Return the training's folder in the store."""
        return scratch() / "trainings" / self.fingerprint

    @property
    def result(self) -> Path:
        """Return the folder of the training's result."""
        return self.directory / "result"

    def ended(self) -> bool:
        """Return whether the store holds the complete result."""
        return is_whole(self.result, self.fingerprint)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run the block in one process at a time; other processes print one line and wait."""
        make_folder(self.directory)
        with (self.directory / "lock").open("a") as file:
            if not lock(file, waits=False):
                print(f"waiting for another process that runs training {self.fingerprint}", flush=True)
                lock(file, waits=True)
            yield

    def keep(self, write: Callable[[Path], None], **about: Any) -> None:
        """Write the sealed result into the store, whole or not at all, then delete the checkpoints.

        write: writes the files into an empty folder
        about: further facts for the seal: seed, device, precision, versions
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
        make_folder(self.directory)
        with writing(self.result) as temporary:
            shutil.copytree(folder, temporary)


def seal(folder: Path, fingerprint: str, **about: Any) -> None:
    """Write training.json: the fingerprint and the SHA-256 of every file in the folder and its subfolders."""
    files = {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / SEAL
    }
    write_json(folder / SEAL, {"fingerprint": fingerprint, "files": files} | about)


def sealed(folder: Path) -> str | None:
    """Return the fingerprint in the seal of a folder; None if the seal is missing or unreadable."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(read_json(folder / SEAL)["fingerprint"])
    return None


def is_whole(folder: Path, fingerprint: str) -> bool:
    """Return whether a folder holds the result of this training, with every file unchanged since sealing."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        content = read_json(folder / SEAL)
        files = content["files"]
        return content["fingerprint"] == fingerprint and all(
            file_digest(folder / name) == digest for name, digest in files.items()
        )
    return False


def changed_file(folder: Path, *, snapshots: bool = False) -> Path | None:
    """Return the first file of a sealed folder that changed since sealing; None if there is none or no seal.

    snapshots: look into subfolders too
    """
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        for name, digest in read_json(folder / SEAL)["files"].items():
            path = folder / name
            if (snapshots or path.parent == folder) and not (path.is_file() and file_digest(path) == digest):
                return path
    return None


def sealed_seeds(arm: str, *, snapshots: bool = False) -> list[int]:
    """Return the seeds of one arm's encoders, in ascending order, after comparing their files to the seals.

    snapshots: also compare the encoders from during the training
    Raises StudyError with the file that changed.
    """
    seeds = trained_seeds(arm)
    for seed in seeds:
        if (path := changed_file(model_dir(arm, seed), snapshots=snapshots)) is not None:
            raise StudyError(
                f"{path}: changed since its training; restore it from the store of trainings: "
                f"`dvc repro --single-item --force pretrain@{arm}`"
            )
    return seeds


def recover(trainings: Mapping[Key, Training], out: Path) -> list[Key]:
    """Copy trainings from the outs into the store; return the keys of trainings that neither holds.

    trainings: by seed or another distinct key
    out:       folder of the arm; the folders of other arms are searched too, because an arm may be renamed
    """
    missing = []
    for key, training in trainings.items():
        if training.ended():
            continue
        folders = sorted(out.parent.glob("*/[0-9]*"), key=lambda folder: folder.parent != out)
        wanted = (folder for folder in folders if sealed(folder) == training.fingerprint)
        whole = next((folder for folder in wanted if is_whole(folder, training.fingerprint)), None)
        if damaged := changed_file(training.result, snapshots=True):
            remedy = f"restored from {whole}" if whole else "training again"
            print(f"{damaged}: changed since its training; {remedy}", flush=True)
        if whole is None:
            missing.append(key)
        else:
            training.adopt(whole)
    return missing


def collect(trainings: Mapping[Any, Training], out: Path) -> None:
    """Fill the out of an arm from the store: one folder for each training and no others.

    trainings: by the name of the folder, which starts with the seed
    Trainings that the out held before are first copied into the store, so that none is lost.
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
    """Return the seals of all finished trainings in the store, by fingerprint."""
    seals = {}
    for path in sorted((scratch() / "trainings").glob(f"*/result/{SEAL}")):
        with suppress(OSError, json.JSONDecodeError):
            seals[path.parent.parent.name] = read_json(path)
    return seals
