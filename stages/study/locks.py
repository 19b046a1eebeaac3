"""Lock files, so that one process at a time does what several may want to do."""

import fcntl
from typing import IO, Any

from stages.study.errors import StudyError


def lock(file: IO[Any], *, waits: bool) -> bool:
    """Lock an open file until it is closed, and return whether that was possible.

    waits: wait until no other process has a lock on the file; otherwise return False at once
    Raises StudyError if the file system offers no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        raise StudyError(
            f"{file.name}: cannot be locked ({error.strerror}); move the project to a file system with "
            "locks, or have them switched on (Lustre: mount option flock; NFS: its lock service)"
        ) from None
    return True
