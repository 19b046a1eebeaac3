"""`make setup` with uv, where uv is installed; the set-up of every test run is the one with pip."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.project import ROOT

# Stands for uv: writes its arguments down, and makes the environment that it is asked for.
UV = """#!/bin/sh
echo "uv $@" >> {log}
for place; do :; done
if [ "$1" = venv ]; then mkdir -p "$place/bin"; ln -s {python} "$place/bin/python"; fi
exit {code}
"""


def set_up(project, *, code=0):
    tools = project / "tools"
    tools.mkdir(exist_ok=True)
    log = project / "log"
    (tools / "uv").write_text(UV.format(log=log, python=sys.executable, code=code))
    (tools / "uv").chmod(0o755)
    shutil.copy(ROOT / "Makefile", project)
    (project / "requirements.lock").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "setup", f"PYTHON={sys.executable}"],
        cwd=project,
        env=environment | {"PATH": f"{tools}:{environment['PATH']}"},
        capture_output=True,
        text=True,
    )
    return done.returncode, log.read_text().splitlines()


def test_uv_installs_the_lock_into_an_environment_with_pip(tmp_path):
    status, calls = set_up(tmp_path)
    assert status == 0 and (tmp_path / ".venv/.complete").is_file()
    assert calls == [
        f"uv venv --quiet --seed --allow-existing --python {sys.executable} .venv",
        "uv pip install --quiet --compile-bytecode --python .venv/bin/python -r requirements.lock",
    ]


def test_an_environment_that_exists_is_filled_and_not_made_again(tmp_path):
    set_up(tmp_path)
    (tmp_path / ".venv/.complete").unlink()
    status, calls = set_up(tmp_path)
    assert status == 0 and [call.split()[1] for call in calls] == ["venv", "pip", "pip"]


@pytest.mark.parametrize("code", [1, 2])
def test_a_failed_installation_is_not_complete(tmp_path, code):
    status, calls = set_up(tmp_path, code=code)
    assert status != 0 and len(calls) == 1
    assert not (tmp_path / ".venv/.complete").exists()
