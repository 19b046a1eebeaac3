"""What every command does around its work: errors for people, Ctrl-C, timings outside the outs."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from stages.study.errors import StudyError
from stages.study.paths import scratch, write_json


def run(name: str, work: Callable[[], str]) -> None:
    """Run a stage, print its key result and keep its wall time in scratch/runtime/, never in an out.

    name: the stage as DVC addresses it, e.g. pretrain@cl
    work: does the stage and returns one line with its key result
    """
    started = time.monotonic()
    result = exit_on_error(name, work)
    seconds = time.monotonic() - started
    if result:  # of several processes the first alone has one
        write_json(runtime_file(name), {"stage": name, "seconds": seconds})
        print(f"{name}: {result} ({seconds:.0f} s)", flush=True)


def exit_with(name: str, work: Callable[[], str]) -> None:
    """Run a command that is no stage and print what it returns, if anything."""
    result = exit_on_error(name, work)
    if result:
        print(result, flush=True)


def exit_on_error(name: str, work: Callable[[], str]) -> str:
    """Do the work, or exit: 2 with one line for a mistake the user can mend, 130 after Ctrl-C."""
    try:
        return work()
    except StudyError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\n{name}: stopped; `dvc repro` goes on from what was saved", file=sys.stderr)
        sys.exit(130)


def runtime_file(name: str) -> Path:
    """Where the wall time of a stage is kept."""
    return scratch() / "runtime" / f"{name}.json"
