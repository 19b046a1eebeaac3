"""DVC's view of the project, opened so that whatever hinders DVC is one line for people."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from dvc.exceptions import DvcException, ReproductionError
from dvc.lock import LockError
from dvc.repo import Repo

from stages.study.errors import StudyError

RWLOCK = Path(".dvc/tmp/rwlock")  # which files which process reads or writes, as DVC notes it
COMMIT = "`git init && git add -A && git commit -m start`"


@contextmanager
def dvc_project() -> Iterator[Repo]:
    """Open the project in the working directory.

    Raises StudyError if there is no Git repository, another command holds the project or has left a lock, or
    DVC cannot read or write its files.
    """
    refuse_broken_lock()
    try:
        with Repo() as repo:
            yield repo
    except ReproductionError:
        raise
    except LockError as error:
        raise StudyError(f"another DVC command is at work in this project; {_holder(error)}") from None
    except DvcException as error:
        refuse_missing_git()  # DVC may be set to do without
        raise StudyError(f"DVC cannot read this project: {_line(error)}") from None
    except OSError as error:
        if error.filename is None or Path(os.path.abspath(f"{error.filename}")).is_relative_to(Path.cwd()):
            raise
        # DVC keeps an index of every project in a folder that all users share.
        raise StudyError(
            f"{error.filename}: {error.strerror}; set DVC_SITE_CACHE_DIR to a folder that you may write"
        ) from None


def refuse_missing_git(folder: Path = Path(".")) -> None:
    """Refuse a project outside any Git repository, such as one from a ZIP. Raises StudyError."""
    above = [folder.absolute(), *folder.absolute().parents]
    if not any((place / ".git").exists() for place in above):
        raise StudyError(f"no Git repository here, which DVC needs; once: {COMMIT}")


def refuse_broken_lock(path: Path = RWLOCK) -> None:
    """Refuse notes on locks that are damaged, or name a process that is another one by now.

    DVC forgets processes that ended, but waits for ever for a number that the system gave away again.
    Raises StudyError with the file, the process and its command.
    """
    try:
        notes = _notes(path)
        writers = list(notes.get("write", {}).values())
        readers = [reader for names in notes.get("read", {}).values() for reader in names]
        held = {int(entry["pid"]): f"{entry['cmd']}" for entry in writers + readers}
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StudyError(f"{path}: damaged; if no DVC command runs here, delete this file") from None
    for number, command in held.items():
        try:
            lives = " ".join(psutil.Process(number).cmdline())
        except psutil.Error:  # it has ended, which DVC sees itself, or belongs to somebody else
            continue
        if command not in lives and not any(name in lives for name in ("dvc", "stages.")):
            raise StudyError(
                f"{path}: says that process {number} ({command}) is at work here, but {number} is now "
                f"{lives.split()[0] if lives else 'another one'}; delete this file"
            )


def _notes(path: Path) -> dict[str, Any]:
    """Read the notes on locks, which DVC writes in pieces. Raises ValueError if they are no JSON."""
    for _ in range(3):
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            time.sleep(0.1)
    return json.loads(path.read_text(encoding="utf-8"))


def _holder(error: LockError) -> str:
    """Return which process holds a lock, as DVC says it, and what to do."""
    holder = re.search(r"\(PID (\d+)\): (.+)", f"{error}")
    return f"let process {holder[1]} ({holder[2]}) end first" if holder else "let it end first"


def _line(error: Exception) -> str:
    return f"{error}".partition("\n")[0]
