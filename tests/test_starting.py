"""Ctrl-C while a command of the study still imports what it needs."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

STARTING = "print('importing', flush=True)\nimport time\ntime.sleep(60)"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The package of the study, with a command that takes long to import and one that cannot be imported."""
    (tmp_path / "stages/tools").mkdir(parents=True)
    shutil.copy(ROOT / "stages/__init__.py", tmp_path / "stages")
    for name, code in (
        ("slow", STARTING),
        ("tools/slow", STARTING),
        ("broken", "import nothing_of_the_kind"),
    ):
        (tmp_path / f"stages/{name}.py").write_text(code)
    (tmp_path / "stages/tools/__init__.py").touch()
    return tmp_path


def started(study: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=study,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


@pytest.mark.parametrize("command", ["slow", "tools.slow"])
def test_it_ends_in_one_line(study: Path, command: str) -> None:
    process = started(study, "-m", f"stages.{command}")
    assert process.stdout is not None and process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, f"{command}: interrupted while starting\n")


def test_another_error_keeps_its_traceback(study: Path) -> None:
    process = started(study, "-m", "stages.broken")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("Traceback") and "No module named 'nothing_of_the_kind'" in errors


def test_who_imports_the_study_handles_ctrl_c_himself(study: Path) -> None:
    process = started(study, "-c", "import stages, sys; assert sys.excepthook is sys.__excepthook__")
    assert process.wait(timeout=30) == 0
