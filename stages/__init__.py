"""The study. Each stage and tool is a command, `python -m stages.NAME`.

This code runs before a command spends seconds on its imports. No result depends on it.
"""

import getpass
import os
import sys
from types import TracebackType


def end_in_one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print one line and exit with status 130 if Ctrl-C interrupts a command during its imports."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    command = getattr(sys.modules["__main__"].__spec__, "name", "stages")
    newline = "\n" if sys.stderr.isatty() else ""  # the terminal has just shown ^C
    print(f"{newline}{command.removeprefix('stages.')}: interrupted while starting", file=sys.stderr)
    sys.exit(130)


def name_user() -> None:
    """Give a user without a name, as in containers, a name for libraries that need one."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"{os.getuid()}"


def print_anything() -> None:
    """Let a terminal with a small character set print question marks for all other characters."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


# sys.argv is ["-m"] while Python looks for the module of `-m`. Tests and notebooks are not affected.
if sys.argv[:1] == ["-m"]:
    sys.excepthook = end_in_one_line
    name_user()
    print_anything()
