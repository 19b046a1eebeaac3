"""The lock: whole, and for every Python that the project says it runs on."""

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.project import ROOT

LOCKED = dict(line.split("==") for line in Path(ROOT, "requirements.lock").read_text().splitlines())
OLDEST = "3.11.0"  # of the Pythons that the Makefile lets pass


def test_the_makefile_lets_the_oldest_python_pass():
    assert "sys.version_info < (3, 11)" in Path(ROOT, "Makefile").read_text()
    assert re.search(r'^requires-python = ">=3\.11"$', Path(ROOT, "pyproject.toml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", LOCKED)
def test_what_is_locked_is_installed_and_runs_on_the_oldest_python(name):
    found = distribution(name)
    assert found.version == LOCKED[name]
    assert OLDEST in SpecifierSet(found.metadata.get("Requires-Python") or "")
