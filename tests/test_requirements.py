"""The lock and the bounds of pyproject.toml: whole, consistent, for every Python that the project allows."""

import ast
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.project import ROOT, copy_project, run_in

LOCKED = dict(line.split("==") for line in Path(ROOT, "requirements.lock").read_text().splitlines())
PROJECT = tomllib.loads(Path(ROOT, "pyproject.toml").read_text())["project"]
OPTIONAL = PROJECT["optional-dependencies"]
OLDEST = "3.11.0"  # of the Pythons that the Makefile lets pass
AT_REQUEST = {"pillow-heif", "torchcodec", "datasets"}  # imported where a study's images need them
HOME = {  # packages that differ in name from what is imported
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "ruamel": "ruamel-yaml",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def test_the_makefile_lets_the_oldest_python_pass():
    assert "sys.version_info < (3, 11)" in Path(ROOT, "Makefile").read_text()
    assert re.search(r'^requires-python = ">=3\.11"$', Path(ROOT, "pyproject.toml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", LOCKED)
def test_what_is_locked_is_installed_and_runs_on_the_oldest_python(name):
    package = distribution(name)
    assert package.version == LOCKED[name]
    assert OLDEST in SpecifierSet(package.metadata.get("Requires-Python") or "")


@pytest.mark.parametrize("line", PROJECT["dependencies"] + OPTIONAL["photographs"] + OPTIONAL["test"])
def test_the_lock_satisfies_every_bound(line):
    requirement, locked = Requirement(line), {canonicalize_name(name): LOCKED[name] for name in LOCKED}
    assert any(bound.operator in (">=", "~=") for bound in requirement.specifier), "no lower bound"
    assert locked[canonicalize_name(requirement.name)] in requirement.specifier


def test_pip_can_install_the_project_with_each_extra(tmp_path):
    pytest.importorskip("setuptools", reason="pip fetches it where it is missing")
    project = copy_project(tmp_path / "project")
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    done = run_in(project, "python", "-c", "import setuptools; setuptools.setup()", "egg_info")
    assert done.returncode == 0, done.stderr
    metadata = next(project.glob("*.egg-info/PKG-INFO")).read_text()
    assert set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE)) == set(OPTIONAL)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_every_imported_package_is_declared():
    names = {name for path in (ROOT / "stages").rglob("*.py") for name in imported(path)}
    packages = {HOME.get(name, canonicalize_name(name)) for name in names - sys.stdlib_module_names}
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert packages - declared == {"stages", *AT_REQUEST}
