"""What stops a training from within its process, at a moment that a test chooses.

torch is imported where it is used: the process of the tests, which only names these functions, does without.
"""

import io
import itertools
import os
import resource
import signal
from collections.abc import Callable
from typing import Any


def signal_at_step(step: int, *, number: int) -> None:
    """Send the process a signal before one of its steps, from 1."""
    from stages.training import loop

    def stop() -> None:
        os.kill(os.getpid(), number)

    loop.take_step = _at_call(step, of=loop.take_step, do=stop)


def kill_in_the_middle_of_a_save() -> None:
    """SIGKILL when half of the first checkpoint is on disk."""
    import torch

    real = torch.save

    def half(state: Any, file: Any) -> None:
        whole = io.BytesIO()
        real(state, whole)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half


def kill_between_the_files_of_a_save() -> None:
    """SIGKILL between putting the first checksum and the first checkpoint in their places."""
    _kill_before_replacing(".pt")


def kill_in_the_middle_of_a_snapshot() -> None:
    """SIGKILL between the two files of the first snapshot."""
    _kill_before_replacing("encoder.json")


def limit_file_size(size: int) -> None:
    """Let no file grow beyond so many bytes from here on, see tests/full_disk.py."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _kill_before_replacing(ending: str) -> None:
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        if str(target).endswith(ending):
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    os.replace = replace


def _at_call(number: int, *, of: Callable[..., Any], do: Callable[[], None]) -> Callable[..., Any]:
    calls = itertools.count(1)

    def counting(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            do()
        return of(*args, **kwargs)

    return counting
