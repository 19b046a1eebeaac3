"""Finding an objective, a probe, an analysis or a corruption by the name of its file."""

import importlib
import re
from pathlib import Path
from typing import TypeVar

from stages.study.errors import StudyError

Plugin = TypeVar("Plugin")


def plugins(folder: Path, *, constant: str) -> list[str]:
    """The names of the modules in a room's folder that define the constant; no code of them runs.

    constant: PROBE, for example
    """
    defined = re.compile(rf"^{constant} = ", re.MULTILINE)
    files = folder.glob("*.py")
    return sorted(path.stem for path in files if defined.search(path.read_text(encoding="utf-8")))


def find(kind: type[Plugin], name: str) -> Plugin:
    """The plug-in of a kind that the file of that name defines: of a Probe, PROBE in stages/probes/NAME.py.

    kind: a class of a room's contract.py
    Raises StudyError listing the names there are.
    """
    package, constant = kind.__module__.rpartition(".")[0], kind.__name__.upper()
    folder = Path(importlib.import_module(package).__path__[0])
    names = plugins(folder, constant=constant)
    if name not in names:
        raise StudyError(f"params.yaml: no {folder.name} named {name!r}; there are: {', '.join(names)}")
    plugin: Plugin = vars(importlib.import_module(f"{package}.{name}"))[constant]
    return plugin
