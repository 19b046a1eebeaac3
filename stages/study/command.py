"""Run a command: print its first and last line, report errors in one line, handle Ctrl-C and SIGTERM."""

import errno
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from stages.study.disk import no_room
from stages.study.errors import StudyError, printable
from stages.study.timings import expected_seconds, note, read_runs, spoken

NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)  # another user's file, a read-only checkout
AT_ONCE = 1.0  # seconds within which signals count as one
# Errors of the machine rather than of the code, with what to do.
OF_THE_MACHINE = {
    **dict.fromkeys(NOT_ALLOWED, "make it writable, or work in a copy"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space and run it again"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit, as with `ulimit -n`"),
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ELOOP: "fix the link that points to itself",
}


class Terminated(BaseException):
    """SIGTERM arrived: from Slurm when a job's time is up, from systemd, or from `kill`."""


def run(
    name: str,
    work: Callable[[], str],
    *,
    about: Callable[[], Iterable[str]] = tuple,
    writes: Path | None = None,
) -> None:
    """Run a stage; print one line when it starts and one with its key result when it ends.

    name:   the stage as DVC addresses it, e.g. pretrain@cl
    work:   does the stage and returns one line with its key result
    about:  returns what the stage runs with, in words: objective, device, precision
    writes: path of the result
    If several processes train together, only the first one prints.
    """

    def reported_work() -> str:
        if not first_process():
            return work()
        words = name.replace("@", " ").replace("-", " ")
        expected = expected_seconds(name, read_runs())
        ran_with = list(about())
        facts = [words, *ran_with, *([f"about {spoken(expected)}"] if expected else [])]
        print(printable(" · ".join(facts)), flush=True)
        note("began", stage=name, ran_with=ran_with)
        outcome, message = "failed", ""
        try:
            message = work()
            outcome = "done"
        except (KeyboardInterrupt, Terminated) as stop:
            outcome = "interrupted"
            saved = [run.saved for run in read_runs() if (run.process, run.stage) == (os.getpid(), name)]
            if saved and saved[-1]:
                stop.add_note(f"{saved[-1]}; the same command continues from there")
            raise
        except BaseException as error:
            message = f"{error}" or type(error).__name__
            raise
        finally:
            seconds = max(0.0, time.time() - psutil.Process().create_time())
            note(outcome, seconds=round(seconds, 3), message=message.partition("\n")[0])
        return " · ".join([words, f"done in {spoken(seconds)}", message, *([f"{writes}"] if writes else [])])

    exit_with(name, reported_work)


def exit_with(name: str, work: Callable[[], str]) -> None:
    """Do the work and print the line that it returns, if any.

    Exit with one line and code 2 if the user can fix the problem, 130 after Ctrl-C, 143 after SIGTERM, and
    silently with 141 if nobody reads the output.
    """
    try:
        with terminable():
            result = work()
        if result:
            print("\n".join(map(printable, result.split("\n"))), flush=True)
    except StudyError as error:
        print(printable(f"{name}: {error}"), file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and output_is_closed():  # such as `make status | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        if (advice := advice_on(error)) is None:
            raise
        print(printable(f"{name}: {advice}"), file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, Terminated) as stop:
        number, word = (
            (signal.SIGTERM, "stopped by SIGTERM")
            if isinstance(stop, Terminated)
            else (signal.SIGINT, "interrupted")
        )
        newline = "\n" if sys.stderr.isatty() else ""  # after the terminal's ^C
        notes = getattr(stop, "__notes__", ["the same command continues from the last checkpoint"])
        print(f"{newline}{name}: {'; '.join([word, *notes])}", file=sys.stderr)
        sys.exit(128 + number)


def output_is_closed() -> bool:
    """Return whether nobody reads the standard output any more."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # errors are always reported
    return bool(output.poll(0))


def advice_on(error: Exception) -> str | None:
    """Return an error of the machine and what a user can do about it; None if the error is of the code."""
    filename = getattr(error, "filename", None)
    place = "" if filename is None else f"{filename}: "
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        nowhere = error.errno in NOT_ALLOWED and filename is None
        return None if nowhere else f"{place}{error.strerror}; {OF_THE_MACHINE[error.errno]}"
    if (reason := no_room(error)) is not None:  # of a library in another language
        return f"{place}{reason}; {OF_THE_MACHINE[errno.ENOSPC]}"
    return None


def first_process() -> bool:
    """Return whether this is the first of the processes that train together, or the only one.

    torchrun sets RANK, srun sets SLURM_PROCID, and Fabric sets LOCAL_RANK in the processes that it starts.
    """
    ranks = (os.environ.get(name, "") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return next((rank for rank in ranks if rank), "0") == "0"


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise Terminated in the block, so that partial files are removed; a later one kills.

    One signal can arrive several times at once: `timeout` sends it to a process and to its group, and make
    passes it on.
    """

    def stop(number: int, frame: Any) -> None:
        first = time.monotonic()

        def kill(number: int, frame: Any) -> None:
            if time.monotonic() - first > AT_ONCE:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.raise_signal(signal.SIGTERM)

        signal.signal(signal.SIGTERM, kill)
        raise Terminated

    main_thread = threading.current_thread() is threading.main_thread()
    # Threads cannot set handlers, and another handler must stay in place.
    if not main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
