"""What dvc.lock says was computed: the stages of the study, what they ran with and what they wrote."""

import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.study.documents import read_yaml
from stages.study.errors import StudyError
from stages.study.study import Study

UNMIRRORED = ("check", "track")  # stages that compute nothing of the study


@dataclass(frozen=True)
class Result:
    """One stage as dvc.lock has it."""

    address: str
    entry: dict[str, Any]

    @property
    def key(self) -> str:
        """Names the result: command, code, data, parameters and outs are in it."""
        return digest([self.address, self.entry])

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the stage, dotted."""
        return flat(self.entry.get("params", {}).get("params.yaml", {}))

    @property
    def arm(self) -> str | None:
        """The arm that the stage was run for; None for one that gathers all arms."""
        chosen = re.search(r" --arm (\S+)", self.entry["cmd"])
        return chosen[1] if chosen else None

    @property
    def deps(self) -> list[Path]:
        """What the stage read."""
        return [Path(dep["path"]) for dep in self.entry.get("deps", [])]

    def outs(self, *folders: str) -> dict[Path, dict[str, Any]]:
        """The outs below these folders, or all: path -> md5, size and, if a directory, nfiles."""
        outs = {Path(out["path"]): out for out in self.entry.get("outs", [])}
        return {path: out for path, out in outs.items() if not folders or path.parts[0] in folders}


def read_lock(path: Path = Path("dvc.lock")) -> dict[str, Any]:
    """The stages of dvc.lock, by address; DVC adds each as it ends.

    Raises StudyError if there is none yet.
    """
    if not path.exists():
        raise StudyError(f"{path}: not found, so there are no results yet; run `dvc repro` first")
    return (read_yaml(path) or {}).get("stages", {})


def stage_addresses(graph: dict[str, Any], study: Study) -> list[str]:
    """The stages that the templates of dvc.yaml make, addressed as DVC does; dvc.lock keeps removed ones too.

    graph: `stages` of dvc.yaml
    """
    found = []
    for name, entry in graph.items():
        axes = [entry["foreach"]] if "foreach" in entry else list(entry.get("matrix", {}).values())
        chosen = itertools.product(*(_names(axis, study) for axis in axes))
        found += [f"{name}@{'-'.join(names)}" for names in chosen] if axes else [name]
    return found


def moved_on(result: Result, values: dict[str, Any]) -> str | None:
    """The first parameter that is no longer what the stage ran with, or None.

    values: the content of params.yaml
    """
    for path, was in result.entry.get("params", {}).get("params.yaml", {}).items():
        now: Any = values
        for part in path.split("."):
            now = now.get(part) if isinstance(now, dict) else None
        if flat({path: now}) != flat({path: was}):
            return path
    return None


def altered(result: Result, *folders: str) -> Path | None:
    """The first out below these folders that is missing or is not what the stage wrote, or None.

    Directories are compared by the number and size of their files: reading weights would take minutes.
    """
    for path, out in result.outs(*folders).items():
        if path.is_dir():
            sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
            same = (len(sizes), sum(sizes)) == (out.get("nfiles"), out.get("size"))
        else:
            same = path.exists() and hashlib.md5(path.read_bytes()).hexdigest() == out["md5"]
        if not same:
            return path
    return None


def flat(values: Any, at: str = "") -> dict[str, Any]:
    """Nested values as dotted names; lists stay values."""
    if isinstance(values, dict):
        nested = (flat(value, f"{at}.{name}" if at else str(name)) for name, value in values.items())
        return {name: value for part in nested for name, value in part.items()}
    return {at: values}


def digest(value: Any) -> str:
    """32 hex digits that name a value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _names(axis: Any, study: Study) -> list[str]:
    # An axis is a list, or "${path}" of a list or mapping of params.yaml.
    if not isinstance(axis, str):
        return [str(name) for name in axis]
    value: Any = study
    for part in axis.removeprefix("${").removesuffix("}").split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    if isinstance(value, list):
        return [str(name) for name in value]
    return [name for name, item in (value.items() if isinstance(value, dict) else value) if item is not None]
