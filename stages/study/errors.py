"""The one error that people read: a line that says what is wrong, where, and what to do."""


class StudyError(Exception):
    """Something the user can mend; commands print it as one line and exit with 2."""
