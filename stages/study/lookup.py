"""Find an objective, probe, analysis or corruption by the name of its file."""

import importlib
import re
from pathlib import Path
from typing import TypeVar

from stages.study.errors import ParamsError, StudyError
from stages.study.study import Study

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


def refuse_unknown_names(params: Study) -> None:
    """Refuse objectives, analyses, probes and corruptions that no file of stages/ defines."""
    for name, arm in params.arms.items():
        _defined(f"arms.{name}.objective", arm.objective, room="objectives", constant="OBJECTIVE")
    for name in params.analyses:
        _defined(f"analyses.{name}", name, room="analyses", constant="ANALYSIS")
        if not Path(f"notebooks/{name}.ipynb").exists():
            raise ParamsError(
                f"params.yaml: analyses.{name}: notebooks/{name}.ipynb, which draws it, does not exist; "
                "add the notebook or remove the analysis"
            )
    for name, _ in params.probes:
        _defined(f"probes.{name}", name, room="probes", constant="PROBE")
    for name in params.robustness.corruptions:
        _defined(f"robustness.corruptions.{name}", name, room="corruptions", constant="CORRUPTION")


def _defined(key: str, name: str, *, room: str, constant: str) -> None:
    names = plugins(Path("stages") / room, constant=constant)
    if name not in names:
        raise ParamsError(f"params.yaml: {key} is {name!r}; choose from: {', '.join(names)}")
