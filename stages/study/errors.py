"""Errors for people: one line that says what is wrong, where, and what to do."""


class StudyError(Exception):
    """A problem that the user can fix; commands print it as one line and exit with code 2."""


class ParamsError(StudyError):
    """A value of params.yaml is wrong, or a stage reads a value that dvc.yaml does not declare for it."""
