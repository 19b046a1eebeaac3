"""The whole pipeline at toy size under DVC, and what is run again after an edit."""

import json
import shutil
import time

import networkx
import pytest
from dvc.repo import Repo

from stages.study.params import read_yaml
from tests.project import as_dvc_repository, copy_project, edit, run_in

# Every stage takes seconds to start; these are run by one arm alone, in a test of their own.
LEFT_OUT = ("few_shot", "attentive", "similarity", "singular_values", "attention_maps", "token_embedding")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study."""
    folder = tmp_path_factory.mktemp("study") / "project"
    project = as_dvc_repository(copy_project(folder, leave_out=LEFT_OUT))
    done = run_in(project, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return project


def stale(project):
    """The stages that `dvc repro` would consider, by name: those that changed and all that follow them."""
    with Repo(str(project)) as repo:
        changed = set(json.loads(run_in(project, "dvc", "status", "--json").stdout))
        graph = repo.index.graph  # edges point from a stage to what it needs
        names = {stage: stage.addressing.split(":")[-1] for stage in graph}
        found = set()
        for stage in graph:
            if names[stage] in changed:
                found |= {names[stage]} | {names[node] for node in networkx.ancestors(graph, stage)}
    return found


def with_edit(project, changes):
    """What would run after an edit, which is taken back."""
    params = project / "params.yaml"
    before = params.read_text()
    edit(project, changes)
    try:
        return stale(project)
    finally:
        params.write_text(before)


FAN_IN = {"compare", "decide", "report@attention", "report@fourier", "summary", "track"}


def test_everything_is_there(study):
    for path in (
        "reports/index.html",
        "reports/pages/attention.html",
        "results/claims.json",
        "results/probe/linear/hybrid.json",
        "results/finetune/mim/predictions.csv",
        "results/analysis/fourier/random.csv",
        "features/cl/test.safetensors",
        "features/cl/tokens-train.safetensors",
        "reports/figures/summary/layerwise-shape.svg",
        "mlruns/mlflow.db",
    ):
        assert (study / path).is_file(), path
    untracked = run_in(study, "git", "status", "--short", "--untracked-files=all").stdout
    assert "models/" not in untracked and "mlruns" not in untracked and "scratch" not in untracked
    assert "results/probe/linear/cl.json" in untracked  # small metrics belong in Git


def test_a_second_run_runs_nothing(study):
    started = time.monotonic()
    done = run_in(study, "dvc", "repro")
    assert done.returncode == 0 and "Running stage" not in done.stdout
    assert "up to date" in done.stdout
    assert time.monotonic() - started < 20  # 2 s on a machine with nothing else to do


def test_the_weight_of_the_hybrid_concerns_the_hybrid_alone(study):
    found = with_edit(study, {"arms": {"hybrid": {"cl_weight": 0.5}}})
    assert found == FAN_IN | {
        "pretrain@hybrid",
        "features@hybrid",
        *(f"probe@hybrid-{name}" for name in ("knn", "linear", "layerwise")),
        "finetune@hybrid",
        "segment@hybrid",
        "robustness@hybrid",
        "analyze@hybrid-attention",
        "analyze@hybrid-fourier",
    }


def test_runtime_concerns_nothing(study):
    runtime = {
        "threads": 2,
        "workers": 1,
        "eval_batch_size": 7,
        "precision": "32-true",
        "accelerator": "auto",
    }
    assert with_edit(study, {"runtime": runtime}) == set()


def test_the_seed_concerns_everything(study):
    assert {"prepare", "pretrain@cl", "finetune@mim", "track"} <= with_edit(study, {"seed": 1})


def test_an_analysis_setting_concerns_that_analysis(study):
    found = with_edit(study, {"analyses": {"fourier": {"images": 6}}})
    assert {name for name in found if name.startswith("analyze")} == {
        f"analyze@{arm}-fourier" for arm in ("random", "cl", "mim", "hybrid")
    }
    assert not any(name.startswith(("pretrain", "features", "probe", "finetune")) for name in found)


def test_k_of_the_neighbours_runs_the_knn_probes_and_no_training(study, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(study, project, symlinks=True)
    edit(project, {"probes": {"knn": {"k": 3}}})
    expected = stale(project)
    done = run_in(project, "dvc", "repro")
    assert done.returncode == 0, done.stderr
    ran = {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")}
    assert {f"probe@{arm}-knn" for arm in ("random", "cl", "mim", "hybrid")} <= ran <= expected
    assert not any(
        name.startswith(("prepare", "pretrain", "features", "finetune", "analyze")) for name in ran
    )


def test_a_comment_in_an_objective_trains_nothing_again(study, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(study, project, symlinks=True)
    with (project / "stages/objectives/masked.py").open("a") as source:
        source.write("# A remark.\n")
    done = run_in(project, "dvc", "repro", "pretrain@mim", "features@mim", "finetune@mim")
    assert done.returncode == 0, done.stderr
    ran = {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")}
    assert ran == {"pretrain@mim"}
    assert "grad_norm" not in done.stdout  # the line that every epoch ends with
    for name in ("encoder.safetensors", "history.csv"):
        assert (project / "models/mim" / name).read_bytes() == (study / "models/mim" / name).read_bytes()


def test_the_same_study_has_the_same_bytes(study, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(study, project, symlinks=True)
    files = [
        path.relative_to(project)
        for folder in ("data", "features/cl", "results", "reports")
        for path in (project / folder).rglob("*")
        if path.is_file() and path.name != ".gitignore"
    ]
    assert len(files) > 40
    names = (
        "prepare",
        "features@cl",
        "probe@cl-linear",
        "analyze@cl-attention",
        "decide",
        "report@attention",
        "summary",
    )
    for name in names:
        done = run_in(project, "dvc", "repro", "--single-item", "--force", "--no-run-cache", name)
        assert done.returncode == 0, done.stderr
    for path in files:
        assert (project / path).read_bytes() == (study / path).read_bytes(), path


def test_every_probe_and_analysis_runs_on_an_arm_of_the_study(study, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(study, project, symlinks=True)
    shutil.copy(copy_project(tmp_path / "whole") / "params.yaml", project)
    params = read_yaml(project / "params.yaml")
    assert set(LEFT_OUT) <= {*params["probes"], *params["analyses"]}
    run = """
import sys
from stages.analyze import analyze
from stages.probe import probe
for name in sys.argv[1:]:
    probe(arm="mim", name=name) if name in ("few_shot", "attentive") else analyze(arm="mim", analysis=name)
"""
    done = run_in(project, "python", "-c", run, *LEFT_OUT)
    assert done.returncode == 0, done.stderr
    for name in LEFT_OUT:
        tables = list(project.glob(f"results/*/{name}/mim.csv"))
        assert len(tables) == 1 and len(tables[0].read_text().splitlines()) > 10
