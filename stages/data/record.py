"""How the images of a real source were read: what was left out and why, and what is black and white."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.data.deep import Range
from stages.study.errors import StudyError
from stages.study.paths import DATA, read_json, write_json

NAME = "reading.json"


class Record(BaseModel):
    """What data/prepared/reading.json holds, beside the manifest; built-in images have none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    unreadable: dict[str, str] = {}  # the reason of each file that the manifest lists as unreadable
    skipped: dict[str, int] = {}  # files that nobody tried to read, by suffix and reason
    ranges: dict[str, Range] = {}  # what is black and what is white in images of more than 8 bits, by kind
    notes: list[str] = []  # what of the source is not used, and what was decided for the user

    def save(self, directory: Path) -> None:
        """Write the record into the folder of the arrays."""
        write_json(directory / NAME, self.model_dump())


def read_record(directory: Path = DATA) -> Record:
    """Return the record of a source; an empty one where there is none.

    Raises StudyError if it cannot be read.
    """
    path = directory / NAME
    try:
        return Record.model_validate(read_json(path))
    except FileNotFoundError:
        return Record()
    except (ValueError, ValidationError):
        raise StudyError(f"{path}: not a record of this version; run `dvc repro -f prepare`") from None
