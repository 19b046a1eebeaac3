"""Find an objective, probe, analysis or corruption by the name of its file."""

import importlib
import re
from pathlib import Path
from typing import TypeVar

from stages.study.errors import StudyError

Plugin = TypeVar("Plugin")


def plugins(folder: Path, *, constant: str) -> list[str]:
    """Return the names of the modules in a folder that define a constant, without running their code.

    constant: PROBE, for example
    """
    defined = re.compile(rf"^{constant} = ", re.MULTILINE)
    files = folder.glob("*.py")
    return sorted(path.stem for path in files if defined.search(path.read_text(encoding="utf-8")))


def find(kind: type[Plugin], name: str) -> Plugin:
    """Return the plug-in that the file NAME.py defines; for a Probe, this is PROBE in stages/probes/NAME.py.

    kind: a class of a room's contract.py
    Raises StudyError, which lists the valid names.
    """
    package, constant = kind.__module__.rpartition(".")[0], kind.__name__.upper()
    folder = Path(importlib.import_module(package).__path__[0])
    names = plugins(folder, constant=constant)
    if name not in names:
        raise StudyError(f"params.yaml: no {folder.name} named {name!r}; choose from: {', '.join(names)}")
    plugin: Plugin = vars(importlib.import_module(f"{package}.{name}"))[constant]
    return plugin
