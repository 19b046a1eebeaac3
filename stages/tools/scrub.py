"""Find damaged objects in DVC's cache before DVC takes results from them.

DVC trusts every read-only object, so it would check out a damaged one without a message.
"""

import hashlib
import json
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from dvc.repo import Repo
from joblib import cpu_count

from stages.study.documents import read_yaml
from stages.study.errors import ParamsError


def remove_damaged_objects(repo: Repo, stale: Container[str]) -> None:
    """Delete the objects that these stages would check out and that changed; print a line for each.

    stale: names of stages, as DVC addresses them
    A stage whose objects are deleted runs again.
    """
    commands = {stage.cmd for stage in repo.index.stages if stage.addressing in stale}
    listed = sorted(restorable(repo, commands))
    with ThreadPoolExecutor(cpu_count()) as pool:
        intact = list(pool.map(is_intact, listed))
    for path, whole in zip(listed, intact, strict=True):
        if not whole:
            path.unlink()
            print(f"{path}: damaged in DVC's cache; deleted, so its stage runs again", flush=True)


def restorable(repo: Repo, commands: Container[str]) -> set[Path]:
    """Return the objects that DVC's run cache lists as outs of these commands.

    An entry of the run cache is dvc.lock's entry of a run that may be restored.
    """
    objects: set[Path] = set()
    for path in Path(repo.stage_cache.cache_dir).glob("*/*/*"):
        with suppress(ParamsError, TypeError, KeyError, AttributeError):  # DVC removes an unreadable entry
            entry = read_yaml(path)
            if entry["cmd"] in commands:
                for out in entry["outs"]:
                    objects.update(files_of(repo, out["md5"]))
    return objects


def files_of(repo: Repo, digest: str) -> Iterator[Path]:
    """Yield the object with a digest, and those of its files if it is a folder; only if they exist."""
    place = Path(repo.cache.local.oid_to_path(digest))
    digests = [digest]
    if place.suffix == ".dir":
        with suppress(OSError, ValueError, TypeError, KeyError):  # damaged, as `is_intact` says
            digests += [entry["md5"] for entry in json.loads(place.read_bytes())]
    yield from (path for name in digests if (path := Path(repo.cache.local.oid_to_path(name))).is_file())


def is_intact(path: Path) -> bool:
    """Return whether the content of an object has the digest that is its name."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == path.parent.name + path.stem
