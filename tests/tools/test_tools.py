"""The commands that are no stage."""

import importlib
import shutil
import sys

import pytest

from stages.study.params import load_params
from tests.forked import Done
from tests.project import ROOT, copy_project, run_in

PRESETS = sorted(path.stem for path in (ROOT / "stages/presets").glob("*.yaml"))


@pytest.fixture
def project(tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.copy(ROOT / "params.yaml", project / "params.yaml")
    return project


@pytest.fixture
def tool(project, monkeypatch, capsys):
    """Run the main of a tool in the project, but in this process: a new one takes a second to start."""
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *words])
        status = 0
        try:
            importlib.import_module(f"stages.tools.{name}").main()
        except SystemExit as end:
            status = end.code
        return Done(status, *capsys.readouterr())

    return run


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_keeps_the_comments(project, tool, name):
    before = (project / "params.yaml").read_text()
    done = tool("preset", name)
    assert done.returncode == 0, done.stderr
    after = (project / "params.yaml").read_text()
    load_params(project / "params.yaml")
    comment = next(line for line in before.splitlines() if line.startswith("seed:")).partition("#")[2]
    assert comment and comment in after
    changed = [
        line for line in done.stdout.splitlines() if " → " in line or line.endswith(("added", "removed"))
    ]
    assert changed and after != before
    assert "already matches" in tool("preset", name).stdout
    assert (project / "params.yaml").read_text() == after


def test_an_unknown_preset_is_one_line_and_touches_nothing(project, tool):
    before = (project / "params.yaml").read_text()
    done = tool("preset", "imaginary")
    assert (
        done.returncode == 2
        and "there are: checkpoints, cifar10" in done.stderr
        and done.stderr.count("\n") == 1
    )
    assert (project / "params.yaml").read_text() == before


def test_a_preset_that_does_not_fit_touches_nothing(project, tool):
    (project / "stages/presets/bad.yaml").write_text("# bad\nvit:\n  heads: 7\n")
    before = (project / "params.yaml").read_text()
    done = tool("preset", "bad")
    assert done.returncode == 2 and "multiple of heads 7" in done.stderr
    assert (project / "params.yaml").read_text() == before


def test_a_preset_may_take_an_arm_away(project, tool):
    (project / "stages/presets/fewer.yaml").write_text("# fewer\narms:\n  hybrid: null\n")
    assert "arms.hybrid removed" in tool("preset", "fewer").stdout
    assert "hybrid" not in load_params(project / "params.yaml").arms


@pytest.mark.parametrize("text", ["", "seed: 0\nseed: 1\n", "seed: [\n"])
def test_params_that_hold_nothing_to_overlay_are_one_line(project, tool, text):
    (project / "params.yaml").write_text(text)
    done = tool("preset", "cifar10")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "params.yaml" in done.stderr
    assert (project / "params.yaml").read_text() == text


def test_presets_are_listed_with_what_they_are_for(project):
    listed = run_in(project, sys.executable, "-m", "stages.tools.preset").stdout
    assert all(name in listed for name in PRESETS)
