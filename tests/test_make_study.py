"""The last line of `make study`, by the status with which the study ends."""

import os
import shutil
import subprocess

import pytest

from tests.project import ROOT

ADVICE = "The study stopped. Fix the problem reported above, then run `make study` again.\n"


@pytest.mark.parametrize(("status", "advice"), [(0, ""), (1, ADVICE), (2, ADVICE), (130, ""), (143, "")])
def test_only_a_study_that_failed_has_a_problem_to_fix(tmp_path, status, advice):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.lock").touch()
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\ncase "$*" in *repro) exit {status};; esac\n')
    python.chmod(0o755)
    (tmp_path / ".venv/.complete").touch()
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "study"], cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert (done.returncode == 0) == (status == 0)
    assert "".join(line for line in done.stderr.splitlines(True) if not line.startswith("make")) == advice
