"""Read YAML as DVC does: YAML 1.2, where `010` is ten and `no` is a word."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.study.errors import ParamsError

CONFLICT = "<<<<<<< "  # Git's marker where a merge conflict begins


def read_yaml(path: Path) -> Any:
    """Parse a YAML file with DVC's own parser, so that both see the same values.

    Raises ParamsError with the line of a syntax error, a merge conflict or a duplicate key, or if the file is
    missing or not UTF-8.
    """
    text = read_text(path)
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        # ruamel.yaml quotes both values of a duplicate key, which may be whole sections.
        raise ParamsError(f"{path}{line}: invalid YAML: {problem.partition(' with value')[0]}") from None
    except (ValueError, KeyError, RecursionError) as error:  # such as !!int abc, or 2026-13-45 read as a date
        reason = " ".join(str(error).split())[:120]
        raise ParamsError(f"{path}: invalid YAML: a value cannot be read ({reason})") from None


def read_text(path: Path) -> str:
    """Read a text file that people or Git edit.

    Raises ParamsError if the file is missing, not UTF-8, or holds a merge conflict.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path}: not found; run from the root of the project") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    if "\0" in text:
        raise ParamsError(f"{path}: byte {text.index(chr(0))} is not UTF-8; save the file as UTF-8")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(CONFLICT):
            raise ParamsError(
                f"{path} line {number}: merge conflict; run `git checkout --ours {path}`, then `make study` "
                "(only stages whose inputs changed will run)"
            )
    return text
