"""What every command does around its work: errors for people, Ctrl-C, SIGTERM, timings outside the outs."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.study.errors import StudyError
from stages.study.paths import scratch, write_json


class Terminated(BaseException):
    """SIGTERM came: from Slurm when a job's time is up, from systemd, from `kill`."""


def run(name: str, work: Callable[[], str]) -> None:
    """Run a stage, print its key result and keep its wall time in scratch/runtime/, never in an out.

    name: the stage as DVC addresses it, e.g. pretrain@cl
    work: does the stage and returns one line with its key result
    """

    def timed() -> str:
        started = time.monotonic()
        result = work()
        if not result:  # of several processes the first alone has one
            return ""
        seconds = time.monotonic() - started
        write_json(runtime_file(name), {"stage": name, "seconds": seconds})
        return f"{name}: {result} ({seconds:.0f} s)"

    exit_with(name, timed)


def exit_with(name: str, work: Callable[[], str]) -> None:
    """Do the work and print what it returns, if anything.

    Exits with one line: 2 for a mistake the user can mend, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        with terminable():
            result = work()
    except StudyError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, Terminated) as stop:
        number, word = (
            (signal.SIGTERM, "SIGTERM") if isinstance(stop, Terminated) else (signal.SIGINT, "Ctrl-C")
        )
        newline = "\n" if sys.stderr.isatty() else ""  # after the terminal's ^C
        print(f"{newline}{name}: stopped by {word}; `dvc repro` goes on from what was saved", file=sys.stderr)
        sys.exit(128 + number)
    if result:
        print(result, flush=True)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise Terminated in the block, so that half-written files go; a second one kills."""

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    alone = threading.current_thread() is threading.main_thread()
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # somebody else handles it
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def runtime_file(name: str) -> Path:
    """Where the wall time of a stage is kept."""
    return scratch() / "runtime" / f"{name}.json"
