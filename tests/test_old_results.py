"""No wrong value costs old results: under DVC itself, the check stops the study before anything is deleted.

The graph is the real one, of one arm; every stage but the check is a stub that writes what it declares.
"""

import contextlib
import json
import os
import shutil
import sys

import pytest
from dvc.exceptions import ReproductionError
from dvc.repo import Repo

from stages.tools.repro import stale_stages
from stages.tools.status import DONE, rows_of
from tests.project import INTERPRETER, as_dvc_repository, copy_project, edit

STUB = """
import json, os, runpy, sys
from pathlib import Path

stage = os.environ["DVC_STAGE"]
with Path("runs.txt").open("a") as runs:
    runs.write(f"{stage}\\n")
if stage == "check":
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
for out in [] if stage == "check" else json.loads(Path("outs.json").read_text())[stage]:
    path = Path(out)
    assert not path.exists(), f"DVC did not delete {out}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.suffix:
        path.mkdir()
        path /= "manifest.json"  # which stages name
    path.write_text(f"of {stage}")
"""
LEFT_OUT = (
    "random",
    "mim",
    "hybrid",
    "layerwise",
    "few_shot",
    "attentive",
    "fourier",
    "similarity",
    "singular_values",
    "attention_maps",
    "token_embedding",
)


@pytest.fixture(scope="module", autouse=True)
def environment():
    """What stages are started with: the stub in the place of Python, nothing of a DVC around us."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DVC_")]:
            patch.delenv(name)
        patch.setenv("PATH", f"{INTERPRETER}{os.pathsep}{os.environ['PATH']}")
        for name in ("STUDY_PYTHON", "STUDY_LAUNCH"):
            patch.setenv(name, f"{sys.executable} stub.py")
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study whose stages all have run."""
    project = tmp_path_factory.mktemp("study") / "project"
    copy_project(project, leave_out=LEFT_OUT, changes={"runtime": {"jobs": 1}})
    (project / "stub.py").write_text(STUB)
    as_dvc_repository(project)
    with contextlib.chdir(project), Repo() as repo:
        outs = {stage.addressing: [out.def_path for out in stage.outs] for stage in repo.index.stages}
    (project / "outs.json").write_text(json.dumps(outs))
    assert run(project) == set(outs)
    assert run(project) == set()
    return project


@pytest.fixture
def study(finished, tmp_path, monkeypatch):
    """A copy of it, which is the working directory."""
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    (project / "runs.txt").unlink(missing_ok=True)
    monkeypatch.chdir(project)
    return project


def run(project, *targets, **options):
    """Run `dvc repro` and return the stages whose commands were started."""
    runs = project / "runs.txt"
    runs.unlink(missing_ok=True)
    with contextlib.chdir(project), Repo() as repo:
        try:
            repo.reproduce(list(targets) or None, **options)
        finally:
            stages = set(runs.read_text().split()) if runs.exists() else set()
    return stages


def results(project):
    """Every file that is no code, by its content; what a user has in data/ is among them."""
    apart = (".git", ".dvc", "stages", "notebooks", "params.yaml", "runs.txt", "scratch")
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file() and path.relative_to(project).parts[0] not in apart
    }


IMPORTED = {"objective": "imported", "format": "mae", "weights": "models/cl/manifest.json"}
WRONG = {  # of each kind one; tests/test_check.py and tests/study/test_places.py have the others
    "a setting of another stage": {"finetune": {"mixup": -1}, "probes": {"knn": {"k": 3}}},
    "an objective": {"arms": {"cl": {"objective": "nonsense"}}},
    "an unknown section": {"nonsense": 1},
    "how it runs": {"runtime": {"threads": -1}},
    "images in an out": {"data": {"source": "data/prepared/x"}},
    "a link into an out": {"data": {"source": "link"}},
    "weights in an out": {"arms": {"cl": IMPORTED}},
    "a name that DVC's run cache ignores": {"analyses": {"attention": {"images": 12, "size": 3}}},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_wrong_value_costs_nothing(study, capfd, changes):
    (study / "data/mine").mkdir()
    (study / "data/mine/a.png").write_bytes(b"picture")
    (study / "link").symlink_to("results/finetune/cl")
    before = results(study)
    edit(study, changes)
    with pytest.raises(ReproductionError):
        run(study)
    assert (study / "runs.txt").read_text() == "check\n"
    assert results(study) == before
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("check: ")]
    assert len(lines) == 1


def test_the_old_value_runs_nothing(study):
    before, params = results(study), (study / "params.yaml").read_text()
    edit(study, {"probes": {"knn": {"k": -1}}})
    with pytest.raises(ReproductionError):
        run(study)
    (study / "params.yaml").write_text(params)
    assert run(study) == set()
    assert results(study) == before


def test_a_valid_change_runs_what_it_concerns_and_the_check(study):
    edit(study, {"probes": {"knn": {"k": 3}}})
    assert run(study) == {"check", "probe@cl-knn", "decide", "summary", "track"}
    edit(study, {"runtime": {"threads": 2}})
    assert run(study) == {"check"}


def test_status_and_make_study_know_that_nothing_follows_the_check(study):
    edit(study, {"runtime": {"threads": 2}})
    rows = {row.stage: row for row in rows_of()}
    assert {name for name, row in rows.items() if row.state != DONE} == {"check"}
    assert rows["check"].why == ["params.yaml changed"]
    edit(study, {"probes": {"knn": {"k": 3}}})
    rows = {row.stage: row for row in rows_of()}
    assert rows["prepare"].state == DONE and rows["summary"].why == ["probes.knn.k 5 → 3"]
    _, stale = stale_stages()  # which runs the check
    assert (study / "runs.txt").read_text() == "check\n"
    assert {"probe@cl-knn", "track"} <= stale and "prepare" not in stale
    edit(study, {"probes": {"knn": {"k": 0}}})
    with pytest.raises(SystemExit, match="2"):
        stale_stages()


def test_files_of_a_user_beside_the_outs_stay(study):
    (study / "data/mine/cat").mkdir(parents=True)
    (study / "data/mine/cat/a.png").write_bytes(b"picture")
    edit(study, {"data": {"source": "data/mine"}})
    assert run(study, "prepare") == {"check", "prepare"}
    run(study, "prepare", single_item=True, force=True)
    shutil.rmtree(study / "data/prepared")  # DVC restores it
    run(study, "prepare")
    assert (study / "data/prepared/manifest.json").is_file()
    assert (study / "data/mine/cat/a.png").read_bytes() == b"picture"


def test_a_target_is_checked_too(study):
    edit(study, {"probes": {"knn": {"k": -1}}})
    before = results(study)
    with pytest.raises(ReproductionError):
        run(study, "probe@cl-linear", force=True)
    assert (study / "runs.txt").read_text() == "check\n" and results(study) == before


def test_a_check_that_once_succeeded_does_not_stand_in_for_another(study):
    params = (study / "params.yaml").read_text()
    (study / "photos").mkdir()
    edit(study, {"data": {"source": "photos"}})
    photos = (study / "params.yaml").read_text()
    assert "check" in run(study, "check")
    (study / "params.yaml").write_text(params)
    run(study, "check")
    (study / "photos").rmdir()
    (study / "photos").symlink_to("models/cl")
    (study / "params.yaml").write_text(photos)
    before = results(study)
    with pytest.raises(ReproductionError):
        run(study)
    assert results(study) == before
