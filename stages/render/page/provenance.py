"""Describe the inputs of a page by their content, with parameters and libraries, but no time or machine."""

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

import yaml
from pydantic import BaseModel

from stages.study.study import Study

LIBRARIES = ("torch", "timm", "numpy", "pandas", "matplotlib", "papermill", "nbconvert")


@dataclass(frozen=True)
class Provenance:
    """The provenance in the footer of a page."""

    params_digest: str
    params: str
    inputs: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """Return one digest of all inputs and parameters."""
        return short(json.dumps([self.params_digest, self.inputs]).encode())


def provenance(study: Study, *, inputs: Iterable[Path]) -> Provenance:
    """Return the digests of the inputs and parameters of a page.

    study:  the parameters that the stage declares; `runtime` is left out, because it changes no result
    inputs: paths in the project
    """
    declared = {name: _plain(value) for name, value in study.__dict__.items() if name != "runtime"}
    canonical = json.dumps(declared, sort_keys=True).encode()
    return Provenance(
        params_digest=short(canonical),
        params=yaml.safe_dump(portable(declared), sort_keys=False, allow_unicode=True),
        inputs=tuple((path.as_posix(), short(path.read_bytes())) for path in dict.fromkeys(inputs)),
        versions=(("python", platform.python_version()), *((name, _version(name)) for name in LIBRARIES)),
    )


def short(content: bytes) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()[:12]


def portable(value: Any) -> Any:
    """Return a value without folders of this machine: absolute paths become their last part."""
    if isinstance(value, dict):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if isinstance(value, str) and (PurePath(value).is_absolute() or value.startswith("~")):
        return PurePath(value).name
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
