"""The study; each of its stages and tools is a command, `python -m stages.NAME`.

What stands here is there before a command imports what it needs, which takes seconds; no result needs it.
"""

import getpass
import os
import sys
from types import TracebackType


def end_in_one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End a command that Ctrl-C met while it was starting with one line, exit status 130."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    command = getattr(sys.modules["__main__"].__spec__, "name", "stages")
    newline = "\n" if sys.stderr.isatty() else ""  # after the terminal's ^C
    print(f"{newline}{command.removeprefix('stages.')}: interrupted while it was starting", file=sys.stderr)
    sys.exit(130)


def name_user() -> None:
    """Give a user without a name, as containers have them, one for the libraries that ask for it."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"{os.getuid()}"


def print_anything() -> None:
    """Let a terminal that knows few characters show a question mark for the others."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


# Python says so while it looks for the module that `-m` names; tests and notebooks stay as they are.
if sys.argv[:1] == ["-m"]:
    sys.excepthook = end_in_one_line
    name_user()
    print_anything()
