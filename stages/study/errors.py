"""Errors for people: one line that says what is wrong, where, and what to do."""

import re

# Control characters, halves of surrogate pairs, line separators, and marks that reverse the text after them.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return a text with escapes for all characters that could change a line or a terminal.

    Names of files, classes and tensors may hold any character. Continuation lines stay if they start with two
    spaces.
    """
    lines = text.split("\n  ")
    return "\n  ".join(
        UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), line) for line in lines
    )


class StudyError(Exception):
    """A problem that the user can fix; commands print it as one line and exit with code 2."""


class ParamsError(StudyError):
    """A value of params.yaml is wrong, or a stage reads a value that dvc.yaml does not declare for it."""
