"""Mend the files that DVC rewrites in place, after a kill or a full disk left a part of one.

DVC empties dvc.lock after every stage and writes it anew. Entries lost from dvc.lock cost no computation: DVC
finds the outs of these stages in its run cache, and trainings lie in the store.
"""

import json
import os
import re
import shutil
from pathlib import Path

import psutil
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from voluptuous import Invalid

from stages.study.documents import CONFLICT
from stages.study.paths import scratch, write_text, writing
from stages.study.words import counted

LOCK = Path("dvc.lock")
RWLOCK = Path(".dvc/tmp/rwlock")  # DVC's record of the files that processes read or write
HEAD = "schema: '2.0'\nstages:\n"  # first lines of dvc.lock
ENTRY = re.compile(r"^  [^\s#][^\n]*:\n", re.MULTILINE)  # first line of a stage's entry


def mend() -> None:
    """Mend dvc.lock and DVC's record of locks if they are damaged, and print a line for each.

    The caller must have `repo.lock`, under which DVC writes both.
    """
    if (words := mend_lock()) is not None:
        print(words, flush=True)
    if RWLOCK.is_file() and not is_json(RWLOCK) and not other_commands():
        RWLOCK.unlink()
        print(f"{RWLOCK}: damaged by an interrupted DVC command; deleted", flush=True)


def mend_lock(path: Path = LOCK) -> str | None:
    """Cut dvc.lock before the entry where writing stopped; return one line about the repair.

    Returns None if the file is valid or absent, or damaged in another way, such as by a merge conflict.
    """
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    if is_whole(text) or f"\n{CONFLICT}" in text:
        return None
    entries = [match.start() for match in ENTRY.finditer(text)]
    whole = text[: entries[-1]] if entries[1:] else ""
    if not (is_whole(whole) if whole else text.startswith(HEAD) or HEAD.startswith(text.strip("\0"))):
        return None
    aside = scratch() / "dvc.lock.damaged"
    with writing(aside) as copy:
        shutil.copyfile(path, copy)
    if whole:
        write_text(path, whole)
    else:
        path.unlink()
    return (
        f"{path}: an interrupted DVC command left it incomplete; {counted(len(entries[:-1]), 'stage')} kept; "
        f"DVC looks up the others in its run cache; a copy of the incomplete file is {aside}"
    )


def is_whole(text: str) -> bool:
    """Return whether a text is a valid dvc.lock, to its last line."""
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text))
    except (YAMLError, Invalid):
        return False
    return text.endswith("\n")


def is_json(path: Path) -> bool:
    """Return whether a file is JSON."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def other_commands() -> list[int]:
    """Return the process ids of the DVC commands in this project, except this process and its parents."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    ids = []
    for process in psutil.process_iter():
        try:
            here = Path(process.cwd()).is_relative_to(Path.cwd())
            if here and process.pid not in ours and "dvc" in " ".join(process.cmdline()):
                ids.append(process.pid)
        except (psutil.Error, OSError):  # ended meanwhile, or of another user
            continue
    return ids
