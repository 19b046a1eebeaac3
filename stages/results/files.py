"""Read one file of results. A missing or damaged file is a one-line error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.results.schemas import Schema
from stages.study.errors import StudyError
from stages.study.paths import read_json

MISSING_NUMBERS = ["", "nan", "NaN"]


class MissingResult(StudyError):
    """The study does not have a result: the file, the column or the rows are missing."""


def read_table(path: Path, schema: Schema, *, stage: str, root: Path = Path()) -> pd.DataFrame:
    """Read a CSV file and check it against its schema.

    Args:
        path: relative to `root`.
        schema: the required columns; pandas decides the type of all others.
        stage: address of the stage in dvc.yaml that writes the file.

    Returns: the table in file order, with text unchanged; it may have no rows.
    Raises: MissingResult if the file or a column is missing; StudyError if the file is not a table, or if a
        column does not match its schema.
    """
    text = [name for name, kind in schema.items() if kind == "text"]
    try:
        header = pd.read_csv(root / path, nrows=0)
        frame = pd.read_csv(
            root / path,
            dtype=dict.fromkeys(text, str),  # an arm can have the name `null`, a label set `1`
            keep_default_na=False,
            na_values={name: MISSING_NUMBERS for name in header if name not in text},
        )
    except FileNotFoundError:
        raise MissingResult(f"{path}: not found; `dvc repro {stage}` writes it") from None
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise StudyError(f"{path}: not a table: {_line(error)}; `dvc repro {stage}` writes it anew") from None
    require(frame, list(schema), path=path, stage=stage)
    for name, kind in schema.items():
        if kind == "flag" and len(frame) and frame[name].dtype != bool:
            raise _wrong(frame[~frame[name].isin([True, False])], frame, name, "true or false", path, stage)
        if kind in ("whole", "number", "optional"):
            frame[name] = _numbers(frame, name, path=path, stage=stage, optional=kind == "optional")
        if kind == "whole":
            rounded = frame[name].round().astype("int64")
            if not rounded.eq(frame[name]).all():
                raise _wrong(frame[rounded != frame[name]], frame, name, "whole numbers", path, stage)
            frame[name] = rounded
    return frame


def read_header(path: Path, *, root: Path = Path()) -> list[str]:
    """Return the column names of a CSV file; an empty list if the file is not a table."""
    try:
        return [str(name) for name in pd.read_csv(root / path, nrows=0)]
    except (OSError, ValueError):
        return []


def require(frame: pd.DataFrame, columns: Sequence[str], *, path: Path, stage: str) -> None:
    """Check that a table has the given columns.

    Raises: MissingResult naming the missing columns.
    """
    missing = [column for column in columns if column not in frame]
    if missing:
        present = ", ".join(map(str, frame))
        raise MissingResult(
            f"{path}: no column {', '.join(missing)}; there are: {present}; "
            f"`dvc repro {stage}` writes it anew"
        )


def require_numbers(frame: pd.DataFrame, columns: Sequence[str], *, path: Path, stage: str) -> None:
    """Check that a table has the given columns and that they hold finite numbers.

    Raises: MissingResult if a column is missing; StudyError if a value is not a finite number.
    """
    require(frame, columns, path=path, stage=stage)
    for name in columns:
        _numbers(frame, name, path=path, stage=stage)


def read_metrics(path: Path, *, stage: str, root: Path = Path()) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises: MissingResult if the file is missing; StudyError if it holds anything else.
    """
    try:
        content = read_json(root / path)
    except FileNotFoundError:
        raise MissingResult(f"{path}: not found; `dvc repro {stage}` writes it") from None
    except ValueError as error:
        raise StudyError(f"{path}: not JSON: {_line(error)}; `dvc repro {stage}` writes it anew") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path}: not a JSON mapping; `dvc repro {stage}` writes it anew")
    return content


def _numbers(frame: pd.DataFrame, name: str, *, path: Path, stage: str, optional: bool = False) -> pd.Series:
    numbers = pd.to_numeric(frame[name], errors="coerce")
    bad = ~np.isfinite(numbers.astype(float))
    if optional:
        bad &= frame[name].notna()
    if bad.any():
        raise _wrong(frame[bad], frame, name, "finite numbers", path, stage)
    return numbers


def _wrong(
    rows: pd.DataFrame, frame: pd.DataFrame, name: str, kind: str, path: Path, stage: str
) -> StudyError:
    count = f"{len(rows)} of {len(frame)} values of {name}"
    return StudyError(f"{path}: {count} are not {kind}; `dvc repro {stage}` writes it anew")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
