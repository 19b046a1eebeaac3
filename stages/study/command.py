"""What every command does around its work: errors for people, Ctrl-C, timings outside the outs."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stages.study.errors import StudyError
from stages.study.paths import scratch, write_json


def run(name: str, work: Callable[[], str]) -> None:
    """Run a stage and exit: 0; 2 with one line for a mistake the user can mend; 130 after Ctrl-C.

    name: the stage as DVC addresses it, e.g. pretrain@cl
    work: does the stage and returns one line with its key result
    The wall time goes to scratch/runtime/, never into an out.
    """
    started = time.monotonic()
    try:
        result = work()
    except StudyError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\n{name}: stopped; `dvc repro` goes on from what was saved", file=sys.stderr)
        sys.exit(130)
    seconds = time.monotonic() - started
    if int(os.environ.get("RANK", "0")) == 0:
        write_json(runtime_file(name), {"stage": name, "seconds": seconds, "finished": time.time()})
        print(f"{name}: {result} ({seconds:.0f} s)", flush=True)


def runtime_file(name: str) -> Path:
    """Where the wall time of a stage is kept."""
    return scratch() / "runtime" / f"{name}.json"
