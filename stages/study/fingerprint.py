"""Digest the code that a result depends on, and name a set of dependencies by a short fingerprint."""

import ast
import builtins
import hashlib
import json
from collections.abc import Container, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

# The type of the whole params.yaml: every stage checks it, but no number depends on settings of other stages.
WHOLE = "stages.study.study"
# Code for paths, messages and reading parameters, on which no number depends. Values of settings are separate
# dependencies.
EDGE = {
    f"stages.study.{name}"
    for name in (
        "command",
        "disk",
        "errors",
        "fingerprint",
        "lookup",
        "params",
        "documents",
        "names",
        "paths",
        "places",
        "plain",
        "recipe",
        "section",
        "store",
        "study",
        "timings",
    )
} | {"stages.training.checkpoints", "stages.training.devices"}
# Choices between implementations. The chosen code is an entry of the fingerprints of its trainings, so that a
# further implementation leaves all other trainings valid.
CHOICES = {"stages.objectives.reading"}
SPOKEN = {"note", "print", "tell"}  # functions that only print or log


class Module(NamedTuple):
    """One file of the project: its top-level definitions, and the sources of its imported names."""

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, str]  # local name -> dotted name below `stages`
    shared: set[str]  # every name with a meaning outside functions, imports from other packages included


def fingerprint(**dependencies: Any) -> str:
    """Return a fingerprint of a set of dependencies: 16 hex digits."""
    text = json.dumps(dependencies, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(*entries: str, root: Path = Path(".")) -> str:
    """Return a digest of the computations of functions and classes, including all definitions that they use.

    entries: dotted names, stages.room.module.name

    The digest ignores comments, docstrings, layout, annotations, names of local variables, error texts and
    progress lines. It also ignores the file of a definition and unused definitions: code may move and grow.
    Implementations that `singledispatch` or a module of CHOICES selects count only if they are entries.
    Raises FileNotFoundError or KeyError if an entry does not exist.
    """
    texts = {f"{name}\n{text}" for name, text in _reachable(entries, root=root)}
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()


def definitions(*entries: str, root: Path = Path(".")) -> set[str]:
    """Return the dotted names of all definitions that `code_digest` counts."""
    return {f"{module}.{name}" for module, name in _visit(entries, root=root)}


def closure(*modules: str, root: Path = Path("."), without: Container[str] = ()) -> list[Path]:
    """Return the project files that importing these modules reads, without any __init__.py, which are empty.

    modules: dotted names below `stages`
    without: dotted names of modules to leave out, together with the modules that only they import
    Raises FileNotFoundError if a module does not exist.
    """
    paths: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in paths or name in without:
            continue
        path = root / (name.replace(".", "/") + ".py")
        paths[name] = path.relative_to(root)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            waiting += [n for n in names if n.startswith("stages.") and _file(n, root).is_file()]
    return sorted(paths.values())


def _reachable(entries: tuple[str, ...], *, root: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of each definition and its normalised source text."""
    for module, name in _visit(entries, root=root):
        content = _parse(_file(module, root))
        for node in content.definitions[name]:
            tree = _Computing().visit(ast.parse(ast.unparse(node)))
            _number_locals(tree, shared=content.shared)
            # Source text, because ast.dump differs between versions of Python.
            yield name, ast.unparse(ast.fix_missing_locations(tree))


def _visit(entries: tuple[str, ...], *, root: Path) -> set[tuple[str, str]]:
    """Return the module and name of every definition that the entries use."""
    waiting = [_split(entry, root=root) for entry in entries]
    visited: set[tuple[str, str]] = set()
    while waiting:
        module, name = waiting.pop()
        if (module, name) in visited or module in EDGE | CHOICES:
            continue
        if module.endswith((".contract", ".settings")):
            continue
        content = _parse(_file(module, root))
        if name in content.imports and name not in content.definitions:  # re-exported by this module
            waiting += _named(content.imports[name], None, root=root)
            continue
        visited.add((module, name))
        for node in content.definitions[name]:
            waiting += _used(_Computing().visit(ast.parse(ast.unparse(node))), module, content, root=root)
    return visited


def _used(tree: ast.AST, module: str, content: Module, *, root: Path) -> Iterator[tuple[str, str]]:
    """Yield every definition of the project that a piece of code names.

    A local variable with the name of a definition counts too, so the digest may cover too much.
    """
    of_modules = {}  # id of the Name in `module.attribute` -> attribute
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            of_modules[id(node.value)] = node.attr
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name):
            continue
        if node.id in content.definitions:
            yield module, node.id
        elif node.id in content.imports:
            yield from _named(content.imports[node.id], of_modules.get(id(node)), root=root)


def _named(dotted: str, attribute: str | None, *, root: Path) -> Iterator[tuple[str, str]]:
    """Yield the definitions behind an imported name; for a module, the attribute used or else all of them."""
    if _file(dotted, root).is_file():
        content = _parse(_file(dotted, root))
        if attribute is not None and (attribute in content.definitions or attribute in content.imports):
            yield dotted, attribute
        else:
            yield from ((dotted, name) for name in content.definitions)
    else:
        module, _, name = dotted.rpartition(".")
        if _file(module, root).is_file():
            yield module, name


def _split(entry: str, *, root: Path) -> tuple[str, str]:
    """Split a dotted name into module and name. Raises FileNotFoundError or KeyError if it is missing."""
    module, _, name = entry.rpartition(".")
    if name not in _parse(_file(module, root)).definitions:
        raise KeyError(f"{module} defines no {name}")
    return module, name


def _parse(path: Path) -> Module:
    return _parsed(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _parsed(path: Path, modified: int) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    content = Module({}, {}, set(dir(builtins)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            content.shared.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    for node in _top_level(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            content.definitions.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages"):
            for alias in node.names:
                content.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in [
                part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
            ]:
                content.definitions.setdefault(name, []).append(node)
    content.shared.update(content.definitions)
    return content


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _top_level([part for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt)])
        else:
            yield node


class _Computing(ast.NodeTransformer):
    """Removes the parts of code that compute nothing."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs,
                         node.args.vararg, node.args.kwarg]:  # fmt: skip
            if argument is not None:
                argument.annotation = None
        node.returns = None
        # An implementation for another type is an entry of the fingerprints of trainings that use it.
        node.decorator_list = [each for each in node.decorator_list if ast.unparse(each) != "singledispatch"]
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        node.annotation = ast.Constant(0)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise(exc=None, cause=None)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in SPOKEN:
            return ast.Pass()
        return self.generic_visit(node)

    def _without_docstring(self, node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


def _number_locals(tree: ast.AST, *, shared: Container[str]) -> None:
    """Replace the names of local variables by numbers, in order of appearance.

    Names of parameters stay, because callers use them. Names with a meaning outside functions stay too.
    """
    for function in _outermost_functions(tree):
        nodes = list(ast.walk(function))
        fixed = {node.arg for node in nodes if isinstance(node, ast.arg)}
        for node in nodes:
            if isinstance(node, ast.Global | ast.Nonlocal):
                fixed.update(node.names)
        stored = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        local = [name for name in dict.fromkeys(stored) if name not in fixed and name not in shared]
        numbers = {name: f"local_{number}" for number, name in enumerate(local)}
        for node in nodes:
            if isinstance(node, ast.Name):
                node.id = numbers.get(node.id, node.id)


def _outermost_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the functions and methods that are not nested in another function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
        else:
            yield from _outermost_functions(node)


def _file(name: str, root: Path) -> Path:
    return root / (name.replace(".", "/") + ".py")
