"""Valid names for arms, analyses, corruptions, stimuli and their settings."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from stages.study.errors import ParamsError

LONGEST = 64  # names become part of file names, which are limited to 255 bytes
MISSING = ("nan", "null")  # pandas reads these words in tables as missing values
LOST = ("size", "nfiles")  # keys that DVC drops when it compares the parameters of two runs


def _readable(name: str) -> str:
    if name in MISSING:
        raise ValueError("this name reads as a missing value in tables; choose another")
    return name


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=LONGEST), AfterValidator(_readable)]


def refuse_lost_names(values: Any, *, where: str = "params.yaml", at: str = "") -> None:
    """Refuse keys that DVC's run cache ignores: after a change of value, DVC would restore old results.

    values: content of params.yaml, or a part of it
    at:     dotted name of that part
    Raises ParamsError with the key.
    Source: dvc/stage/cache.py, `_get_cache_hash`.
    """
    for key, value in values.items() if isinstance(values, dict) else ():
        name = f"{at}.{key}" if at else f"{key}"
        if key in LOST:
            raise ParamsError(
                f"{where}: {name}: DVC's run cache ignores every key called {' or '.join(LOST)} and would "
                "restore results of an earlier value; choose another name"
            )
        refuse_lost_names(value, where=where, at=name)
