"""The errors that people read: a line that says what is wrong, where, and what to do."""


class StudyError(Exception):
    """Something the user can mend; commands print it as one line and exit with 2."""


class ParamsError(StudyError):
    """A value of params.yaml is wrong, or a stage reads one that dvc.yaml does not declare for it."""
