"""What a command prints that ends in an error."""

import io
from contextlib import redirect_stderr

import pytest

from stages.study.command import exit_with


def one_line(error):
    """Return whether a command that ends in an error prints one line of printable letters."""
    stderr = io.StringIO()
    with redirect_stderr(stderr), pytest.raises(SystemExit, match="2"):
        exit_with("check", fail(error))
    return stderr.getvalue().endswith("\n") and stderr.getvalue()[:-1].isprintable()


def fail(error):
    """Return a function that raises an error."""

    def work():
        raise error

    return work
