"""The commands that are no stage."""

import shutil
import sys

import pytest

from stages.study.params import load_params
from tests.project import ROOT, copy_project, edit, run_in

PRESETS = sorted(path.stem for path in (ROOT / "stages/presets").glob("*.yaml"))


@pytest.fixture
def project(tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.copy(ROOT / "params.yaml", project / "params.yaml")
    return project


def tool(project, name, *words):
    return run_in(project, sys.executable, "-m", f"stages.tools.{name}", *words)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_keeps_the_comments(project, name):
    before = (project / "params.yaml").read_text()
    done = tool(project, "preset", name)
    assert done.returncode == 0, done.stderr
    after = (project / "params.yaml").read_text()
    load_params(project / "params.yaml")
    assert "# everything random is derived from it" in after
    changed = [
        line for line in done.stdout.splitlines() if " → " in line or line.endswith(("added", "removed"))
    ]
    assert changed and after != before
    assert "already is" in tool(project, "preset", name).stdout
    assert (project / "params.yaml").read_text() == after


def test_an_unknown_preset_is_one_line_and_touches_nothing(project):
    before = (project / "params.yaml").read_text()
    done = tool(project, "preset", "imaginary")
    assert done.returncode == 2 and "there are: cifar10" in done.stderr and done.stderr.count("\n") == 1
    assert (project / "params.yaml").read_text() == before


def test_a_preset_that_does_not_fit_touches_nothing(project):
    (project / "stages/presets/bad.yaml").write_text("# bad\nvit:\n  heads: 7\n")
    before = (project / "params.yaml").read_text()
    done = tool(project, "preset", "bad")
    assert done.returncode == 2 and "multiple of heads 7" in done.stderr
    assert (project / "params.yaml").read_text() == before


def test_a_preset_may_take_an_arm_away(project):
    (project / "stages/presets/fewer.yaml").write_text("# fewer\narms:\n  hybrid: null\n")
    assert "arms.hybrid removed" in tool(project, "preset", "fewer").stdout
    assert "hybrid" not in load_params(project / "params.yaml").arms


@pytest.mark.parametrize("text", ["", "seed: 0\nseed: 1\n", "seed: [\n"])
def test_params_that_hold_nothing_to_overlay_are_one_line(project, text):
    (project / "params.yaml").write_text(text)
    done = tool(project, "preset", "cifar10")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "params.yaml" in done.stderr
    assert (project / "params.yaml").read_text() == text


def test_presets_are_listed_with_what_they_are_for(project):
    listed = tool(project, "preset").stdout
    assert all(name in listed for name in PRESETS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"arms": {"x": {"objective": "contrastve"}}},
            ["arms.x.objective", "'contrastve'", "contrastive, dino, hybrid"],
        ),
        ({"analyses": {"colour": {"images": 5}}}, ["analyses.colour", "attention, attention_maps, fourier"]),
        ({"arms": {"cl": {"width": 30}}}, ["arms.cl", "30", "multiple of heads"]),
        ({"seed": -1}, ["seed", "-1", "greater than or equal to 0"]),
        ({"data": {"source": "imagse"}}, ["data.source", "'imagse'", "no such file"]),
        ({"data": {"source": "torch/cifar10", "test_source": "held"}}, ["data.test_source", "'held'"]),
        ({"runtime": {"accelerator": "mps"}}, ["runtime.accelerator", "'mps'", "does not find"]),
    ],
)
def test_the_check_names_what_is_wrong_in_one_line(project, changes, words):
    assert tool(project, "check").returncode == 0
    edit(project, changes)
    done = tool(project, "check")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
