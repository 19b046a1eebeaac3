"""Finding an objective, a probe or an analysis by the name of its file."""

import importlib
import pkgutil
from types import ModuleType

from stages.study.errors import StudyError


def find(package: str, name: str, *, function: str) -> ModuleType:
    """The module `package.name`, which must define the function.

    Raises StudyError listing the names there are.
    """
    directory = importlib.import_module(package).__path__
    names = sorted(module.name for module in pkgutil.iter_modules(directory))
    if name in names:
        module = importlib.import_module(f"{package}.{name}")
        if hasattr(module, function):
            return module
    usable = [n for n in names if hasattr(importlib.import_module(f"{package}.{n}"), function)]
    raise StudyError(
        f"params.yaml: no {package.rsplit('.', 1)[1]} named {name!r}; there are: {', '.join(usable)}"
    )
