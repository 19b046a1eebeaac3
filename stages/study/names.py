"""What users may call arms, analyses, corruptions and stimuli, and their settings."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from stages.study.errors import ParamsError

LONGEST = 64  # a name is part of file names, which end at 255 bytes
MISSING = ("nan", "null")  # what readers of tables take for a missing value
LOST = ("size", "nfiles")  # what DVC leaves out wherever it names what a stage ran with


def _readable(name: str) -> str:
    if name in MISSING:
        raise ValueError("readers of tables take this name for a missing value; choose another")
    return name


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=LONGEST), AfterValidator(_readable)]


def refuse_lost_names(values: Any, *, where: str = "params.yaml", at: str = "") -> None:
    """Refuse every key that DVC's run cache ignores: another value would bring old results back.

    values: the content of params.yaml, or a part of it
    at:     dotted name of that part
    Raises ParamsError with the key. Source: dvc/stage/cache.py, `_get_cache_hash`.
    """
    for key, value in values.items() if isinstance(values, dict) else ():
        name = f"{at}.{key}" if at else f"{key}"
        if key in LOST:
            raise ParamsError(
                f"{where}: {name}: DVC's run cache ignores every key called {' or '.join(LOST)} and would "
                "bring back results of another value; choose another name"
            )
        refuse_lost_names(value, where=where, at=name)
