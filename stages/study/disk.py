"""Put files in their places so that neither `kill -9` nor a power loss leaves a part of one."""

import errno
import glob
import os
import shutil
from pathlib import Path

NO_ROOM = (  # messages of the system and of SQLite about a full disk, a quota and `ulimit -f`
    *(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
    "database or disk is full",
)


def make_folder(folder: Path) -> None:
    """Create a folder and the folders above it; afterwards, no power loss loses them."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        flush(path.parent)


def put_in_place(temporary: Path, target: Path) -> None:
    """Move a file or a folder to its place in the same folder; afterwards, no power loss loses it.

    A file replaces an earlier one at once. An earlier folder is moved aside first: the target may be missing
    for a moment, but it is never a part of the earlier folder.
    """
    for path in [*temporary.rglob("*"), temporary]:
        flush(path)
    aside = temporary.with_name(temporary.name.removesuffix(".part") + ".earlier.part")
    if target.is_dir():
        os.rename(target, aside)
    try:
        os.replace(temporary, target)
    except OSError:
        if aside.is_dir():
            os.rename(aside, target)
        raise
    flush(target.parent)
    remove(aside)


def flush(path: Path) -> None:
    """Write the content of a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_abandoned(target: Path) -> None:
    """Delete the temporary files that killed processes left beside a target, see `paths.writing`."""
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        writer = part.name.removeprefix(f".{target.name}.").removesuffix(".part").removesuffix(".earlier")
        # In a restarted container, the process id of a dead writer may equal ours.
        if writer.isdigit() and (int(writer) == os.getpid() or not _lives(int(writer))):
            remove(part)


def no_room(error: BaseException | None) -> str | None:
    """Return the system's words if an error came from a full disk, else None.

    Libraries written in other languages raise their own errors: the words are in their message, or in the
    error that caused them.
    """
    if error is None:
        return None
    reason = next((words for words in NO_ROOM if words in str(error)), None)
    return reason or no_room(error.__cause__ or error.__context__)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)  # checks that the process exists, sends no signal
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
