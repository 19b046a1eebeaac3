"""What a result depends on: the code behind a module, and a short name for a set of dependencies."""

import ast
import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any


def closure(*modules: str, root: Path = Path(".")) -> list[Path]:
    """The files of the project that importing these modules reads; no result needs an __init__.py.

    modules: dotted names below `stages`
    Raises FileNotFoundError if a module does not exist.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = root / (name.replace(".", "/") + ".py")
        found[name] = path.relative_to(root)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            waiting += [n for n in names if n.startswith("stages.") and _is_file(n, root)]
    return sorted(found.values())


def code_digest(paths: list[Path], *, root: Path = Path(".")) -> str:
    """A digest of what code does: comments, docstrings and layout do not change it."""
    digest = hashlib.sha256()
    for path in paths:
        tree = ast.parse((root / path).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                value = body[0].value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
        digest.update(f"{path.as_posix()}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def training_code(*modules: str) -> str:
    """A digest of the code that a training's result depends on; how it is told what to do is left out."""
    apart = {"params", "paths", "command", "errors", "lookup", "fingerprint", "timings"}
    return code_digest(
        [path for path in closure(*modules) if path.stem not in apart or path.parts[1] != "study"]
    )


def fingerprint(**dependencies: Any) -> str:
    """16 hex digits that name a set of dependencies; the versions of torch and timm are among them."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "timm")}
    text = json.dumps(dependencies | versions, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_file(name: str, root: Path) -> bool:
    return (root / (name.replace(".", "/") + ".py")).is_file()
