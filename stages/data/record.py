"""Record how the images of a real source were read: skipped files with reasons, and value ranges."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.data.deep import Range
from stages.study.errors import StudyError
from stages.study.paths import DATA, read_json, write_json

NAME = "reading.json"


class Record(BaseModel):
    """The content of data/prepared/reading.json, beside the manifest; built-in images have no such file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    unreadable: dict[str, str] = {}  # the reason for each unreadable file in the manifest
    skipped: dict[str, int] = {}  # number of files that were not tried, by suffix and reason
    ranges: dict[str, Range] = {}  # black and white in images of more than 8 bits, by kind of value
    notes: list[str] = []  # unused parts of the source, and decisions made for the user

    def save(self, directory: Path) -> None:
        """Write the record into the folder of the arrays."""
        write_json(directory / NAME, self.model_dump())


def read_record(directory: Path = DATA) -> Record:
    """Return the record of a source, or an empty record if there is no file.

    Raises StudyError if the file is invalid.
    """
    path = directory / NAME
    try:
        return Record.model_validate(read_json(path))
    except FileNotFoundError:
        return Record()
    except (ValueError, ValidationError):
        raise StudyError(f"{path}: not a valid record; run `dvc repro -f prepare`") from None
