"""Open the project with DVC, and report every obstacle as a one-line error."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import networkx
import psutil
from dvc.exceptions import DvcException, ReproductionError
from dvc.lock import LockError
from dvc.repo import Repo

from stages.study.disk import make_folder
from stages.study.documents import read_text
from stages.study.errors import StudyError
from stages.study.locks import lock
from stages.study.paths import scratch
from stages.tools.jobs import elsewhere
from stages.tools.mending import RWLOCK, mend

COMMIT = "`git init && git add -A && git commit -m start`"
NO_COMMIT = (  # `dvc exp` itself says "unexpected error - Empty git repo"
    "Git has no commit here, and without one DVC cannot queue experiments; run once: "
    "`git add -A && git commit -m start`"
)


@contextmanager
def only_study() -> Iterator[None]:
    """Run the block unless another `make study` runs in this project. Raises StudyError with its process."""
    path = scratch() / "study.lock"
    make_folder(path.parent)
    with path.open("a+") as file:
        if not lock(file, waits=False):
            file.seek(0)
            raise StudyError(
                f"another `make study` is running in this project; wait until process {file.read()} ends"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}")
        file.flush()
        yield


@contextmanager
def dvc_project(*, mends: bool = False) -> Iterator[Repo]:
    """Open the project in the working directory.

    mends: mend the files that an interrupted DVC command left damaged, see `mending`
    Prints a line if the repository has no commit, which experiments of DVC need.
    Raises StudyError if Git is missing, if another command locks the project or has left a stale lock, or if
    DVC cannot read or write its files, as after a merge conflict.
    """
    try:
        with Repo() as repo:
            if mends:
                with repo.lock:
                    mend()
            refuse_broken_lock()
            if getattr(repo.scm, "no_commits", False):
                print(NO_COMMIT, file=sys.stderr, flush=True)
            yield repo
    except ReproductionError:
        raise
    except LockError as error:
        raise StudyError(f"another DVC command is running in this project; {_holder(error)}") from None
    except DvcException as error:
        for name in ("dvc.yaml", "dvc.lock"):
            if Path(name).is_file():
                read_text(Path(name))  # names a merge conflict
        refuse_missing_git()  # not before, because DVC may be configured to work without Git
        raise StudyError(f"DVC cannot read this project: {_line(error)}") from None
    except OSError as error:
        if error.filename is None or Path(os.path.abspath(f"{error.filename}")).is_relative_to(Path.cwd()):
            raise
        # DVC keeps an index of every project in a folder shared by all users, and settings in HOME.
        variable = "HOME" if Path(f"{error.filename}").name == "config" else "DVC_SITE_CACHE_DIR"
        raise StudyError(
            f"{error.filename}: {error.strerror}; set {variable} to a folder that you can write to"
        ) from None


def whole_graph(repo: Repo) -> networkx.DiGraph:
    """Return the graph of all stages of dvc.yaml, with edges to dependencies.

    Files that users added to DVC are no stages of the study.
    Raises StudyError if DVC wrote dvc.lock meanwhile: stages not yet written would look as if never run.
    """
    before = _version(Path("dvc.lock"))
    graph: networkx.DiGraph = repo.index.graph
    if _version(Path("dvc.lock")) != before:
        raise StudyError("dvc.lock: DVC is writing it; run the command again")
    return graph.subgraph([stage for stage in graph if stage.path_in_repo == "dvc.yaml"])


def _version(path: Path) -> tuple[int, int] | None:
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None


def refuse_missing_git(folder: Path = Path(".")) -> None:
    """Refuse a project outside any Git repository, such as one from a ZIP file. Raises StudyError."""
    above = [folder.absolute(), *folder.absolute().parents]
    if not any((place / ".git").exists() for place in above):
        raise StudyError(f"no Git repository here, but DVC needs one; run once: {COMMIT}")


def refuse_broken_lock(path: Path = RWLOCK) -> None:
    """Refuse a lock file that is damaged, or whose process number now belongs to another program.

    DVC ignores processes that have ended, but waits forever if the system has reused their number. While
    Slurm runs jobs of this study, nothing is refused, because the numbers may belong to other machines.
    Raises StudyError with the file, the process and its command.
    """
    try:
        notes = _notes(path)
        writers = list(notes.get("write", {}).values())
        readers = [reader for names in notes.get("read", {}).values() for reader in names]
        holders = {int(entry["pid"]): f"{entry['cmd']}" for entry in writers + readers}
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StudyError(f"{path}: damaged; if no DVC command runs here, delete this file") from None
    for number, command in holders.items():
        try:
            current = " ".join(psutil.Process(number).cmdline())
        except psutil.Error:  # the process has ended, which DVC notices, or belongs to another user
            continue
        ours = command in current or any(name in current for name in ("dvc", "stages."))
        if not ours and not elsewhere():
            raise StudyError(
                f"{path}: names process {number} ({command}), but {number} is now "
                f"{current.split()[0] if current else 'another program'}; delete this file"
            )


def _notes(path: Path) -> dict[str, Any]:
    """Read the lock file, which DVC does not write atomically. Raises ValueError if it is no JSON."""
    for _ in range(3):
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            time.sleep(0.1)
    return json.loads(path.read_text(encoding="utf-8"))


def _holder(error: LockError) -> str:
    """Return advice to wait for the process that DVC names as the holder of a lock."""
    holder = re.search(r"\(PID (\d+)\): (.+)", f"{error}")
    return f"wait until process {holder[1]} ({holder[2]}) ends" if holder else "wait until it ends"


def _line(error: Exception) -> str:
    return f"{error}".partition("\n")[0]
