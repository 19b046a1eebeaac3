"""Refuse content of params.yaml that no study can use: odd types, odd characters, huge numbers."""

import reprlib
from typing import Any

from stages.study.errors import UNSEEN, ParamsError, printable
from stages.study.section import Section

DEEPEST = 16  # levels; params.yaml has 5
MOST_VALUES = 100_000  # with aliases counted as often as they are used
LONGEST = 4096  # characters of a text, as of a path
LARGEST = 2**32 - 1  # whole numbers; no size, seed or pixel value exceeds it
RANGE = (1e-30, 1e30)  # of other numbers but 0: float32 computes with their squares only near 1


def shown(value: Any) -> str:
    """Return a value for an error line: short, on one line, without characters that change the line."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 120
    short.maxlevel, short.maxdict, short.maxlist = 3, 4, 6
    text = f"a number of {value.bit_length()} bits" if _long(value) else short.repr(value)
    text = printable(text)
    return text if len(text) <= 300 else f"{text[:145]} … {text[-145:]}"


def refuse_odd_content(values: Any, *, where: str = "params.yaml") -> None:
    """Refuse types, names and texts that no setting can have.

    values: content of a YAML file
    Raises ParamsError with the key.
    """
    waiting: list[tuple[str, Any, int]] = [("", values, 0)]
    count = 0
    while waiting:
        at, value, depth = waiting.pop()
        count += 1
        key = f"{where}: {at}" if at else where
        if depth > DEEPEST or count > MOST_VALUES:
            problem = "is nested too deeply" if depth > DEEPEST else "holds too many values"
            raise ParamsError(f"{key[:200]} {problem}; look for an alias (*name) that contains itself")
        if isinstance(value, dict):
            for name in value:
                if not isinstance(name, str) or not name or len(name) > LONGEST or UNSEEN.search(name):
                    raise ParamsError(f"{key}: {shown(name)} is not a name; write a word or a quoted text")
            waiting += [(f"{at}.{name}" if at else name, inner, depth + 1) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{at}.{index}", inner, depth + 1) for index, inner in enumerate(value)]
        elif isinstance(value, str):
            if odd := UNSEEN.search(value):
                word = "zero byte" if odd[0] == "\0" else f"control character ({shown(odd[0])})"
                raise ParamsError(f"{key} is {shown(value)}, which contains a {word}; remove it")
            if len(value) > LONGEST:
                raise ParamsError(
                    f"{key} is {shown(value)}: {len(value)} characters; write at most {LONGEST}"
                )
        elif value is not None and not isinstance(value, bool | int | float):
            raise ParamsError(f"{key} is {shown(value)}, a {type(value).__name__}; put it in quotation marks")
        elif _long(value):
            raise ParamsError(f"{key} is {shown(value)}; whole numbers go up to {LARGEST}")


def refuse_extreme_numbers(settings: Any, raw: Any = None, *, at: str, where: str = "params.yaml") -> None:
    """Refuse numbers that overflow, round to zero or mean true or false.

    settings: checked settings, or a part of them
    raw:      the same values as read from the file, where true and false are not yet numbers
    at:       dotted name of that part
    Raises ParamsError with the key and its value.
    """
    if isinstance(settings, Section):
        settings = settings.model_dump()
    if isinstance(settings, dict | list | tuple):
        items = settings.items() if isinstance(settings, dict) else enumerate(settings)
        for name, value in items:
            inner = None
            if isinstance(raw, dict) or (isinstance(raw, list) and name < len(raw)):
                inner = raw.get(name) if isinstance(raw, dict) else raw[name]
            refuse_extreme_numbers(value, inner, at=f"{at}.{name}" if at else f"{name}", where=where)
        return
    key = f"{where}: {at} is {shown(settings if raw is None else raw)}"
    if isinstance(settings, bool) or not isinstance(settings, int | float):
        return
    if isinstance(raw, bool):
        raise ParamsError(f"{key}: write a number")
    if isinstance(settings, int) and abs(settings) > LARGEST:
        raise ParamsError(f"{key}: whole numbers go up to {LARGEST}")
    low, high = RANGE
    if isinstance(settings, float) and settings and not low <= abs(settings) <= high:
        raise ParamsError(f"{key}: the absolute value of a number lies between {low:g} and {high:g}")


def _long(value: Any) -> bool:
    """Return whether a whole number has more digits than Python writes."""
    return isinstance(value, int) and value.bit_length() > 1024
