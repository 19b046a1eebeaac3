"""`make study` ends as the study ends, and passes on the signals that it gets."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.project import ROOT

ALONE = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


@pytest.fixture
def project(tmp_path):
    """Return a function that makes a project whose study is a shell script."""

    def make(study):
        shutil.copy(ROOT / "Makefile", tmp_path)
        (tmp_path / "requirements.lock").touch()
        python = tmp_path / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\ncase "$*" in *repro) {study};; esac\n')
        python.chmod(0o755)
        (tmp_path / ".venv/.complete").touch()
        return tmp_path

    return make


@pytest.mark.parametrize("status", [0, 1, 130, 143])
def test_it_fails_if_the_study_fails(project, status):
    done = subprocess.run(["make", "study"], cwd=project(f"exit {status}"), env=ALONE, capture_output=True)
    assert (done.returncode == 0) == (status == 0)


def test_sigterm_to_make_reaches_the_study_and_waits_for_it(project):
    folder = project("trap 'sleep 0.3; touch saved; exit 143' TERM; touch began; sleep 60 & wait")
    process = subprocess.Popen(["make", "study"], cwd=folder, env=ALONE, stderr=subprocess.DEVNULL)
    while not (folder / "began").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) != 0
    assert (folder / "saved").exists()
