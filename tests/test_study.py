"""The whole pipeline at toy size under DVC, and what is run again after an edit.

DVC and its graph are the real ones; the stages are forked, since starting Python fifty times takes minutes.
"""

import shutil
import time

import networkx
import pytest
from dvc.repo import Repo

from stages.study.params import read_yaml
from tests.forked import forked
from tests.forked_python import forked_python
from tests.project import as_dvc_repository, copy_project, edit, run_in, toy_params

ARMS = ("cl", "mim", "hybrid")
# DVC writes the whole dvc.lock anew after every stage, so these are run by one arm alone, in their own test.
LEFT_OUT = ("few_shot", "attentive", "similarity", "singular_values", "attention_maps", "token_embedding")


@pytest.fixture(scope="module")
def python():
    """The folder of the `python` that DVC is given."""
    with forked_python() as folder:
        yield folder


@pytest.fixture(scope="module")
def study(tmp_path_factory, python):
    """A finished study."""
    folder = tmp_path_factory.mktemp("study") / "project"
    project = as_dvc_repository(
        copy_project(folder, changes={"arms": {"cl": {"seeds": [0, 1]}}}, leave_out=("random", *LEFT_OUT))
    )
    done = run_in(project, "dvc", "repro", python=python)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return project


def stale(project):
    """The stages that `dvc repro` would consider, by name: those that changed and all that follow them.

    The check is left out: it runs after every edit of params.yaml, and nothing follows it.
    """
    with Repo(str(project)) as repo:
        changed = {name for name in repo.status() if name.split(":")[-1] != "check"}
        graph = repo.index.graph  # edges point from a stage to what it needs
        stages = set()
        for stage in graph:
            if stage.addressing in changed:
                stages |= {stage, *networkx.ancestors(graph, stage)}
        return {stage.addressing.split(":")[-1] for stage in stages}


def with_edit(project, changes):
    """What would run after an edit, which is taken back."""
    params = project / "params.yaml"
    before = params.read_text()
    edit(project, changes)
    try:
        return stale(project)
    finally:
        params.write_text(before)


def stages_run(output):
    """The stages that `dvc repro` says that it ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


FAN_IN = {"compare", "decide", "report@attention", "report@fourier", "summary", "track"}


def test_everything_is_there(study):
    for path in (
        "reports/index.html",
        "reports/pages/attention.html",
        "results/claims.json",
        "results/probe/linear/hybrid.json",
        "results/finetune/mim/0/predictions.csv",
        "results/segmentation/mim.csv",
        "results/robustness/cl.json",
        "results/analysis/fourier/cl.csv",
        "results/snapshots/cl/0.33/analysis/fourier.csv",
        "results/trajectories.csv",
        "features/cl/1/test.safetensors",
        "features/cl/0/tokens-train.safetensors",
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
    concerned = with_edit(study, {"arms": {"hybrid": {"cl_weight": 0.5}}})
    assert concerned == FAN_IN | {
        "pretrain@hybrid",
        "features@hybrid",
        *(f"probe@hybrid-{name}" for name in ("knn", "linear", "layerwise")),
        "finetune@hybrid",
        "segment@hybrid",
        "robustness@hybrid",
        "trajectory@hybrid",
        "analyze@hybrid-attention",
        "analyze@hybrid-fourier",
    }


def test_runtime_concerns_nothing(study):
    runtime = {
        "threads": 2,
        "workers": 1,
        "eval_batch_size": 7,
        "accelerator": "auto",
    }
    assert with_edit(study, {"runtime": runtime}) == set()


def test_the_seed_concerns_everything(study):
    assert {"prepare", "pretrain@cl", "finetune@mim", "track"} <= with_edit(study, {"seed": 1})


def test_a_seed_more_concerns_the_trainings_and_not_the_data(study):
    concerned = with_edit(study, {"seeds": [0, 4]})
    assert {"pretrain@mim", "finetune@mim", "track"} <= concerned and "prepare" not in concerned


def test_an_analysis_setting_concerns_that_analysis(study):
    stages = with_edit(study, {"analyses": {"fourier": {"images": 6}}})
    assert {name for name in stages if name.startswith("analyze")} == {
        f"analyze@{arm}-fourier" for arm in ARMS
    }
    assert not any(name.startswith(("pretrain", "features", "probe", "finetune")) for name in stages)


def test_k_of_the_neighbours_runs_the_knn_probes_and_no_training(study, python, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(study, project, symlinks=True)
    edit(project, {"probes": {"knn": {"k": 3}}})
    probes = {f"probe@{arm}-knn" for arm in ARMS}
    assert stale(project) == probes | {"decide", "summary", "track"}
    done = run_in(project, "dvc", "repro", "decide", python=python)  # and all that it needs
    assert done.returncode == 0, done.stderr
    assert stages_run(done.stdout) == probes | {"check", "decide"}
    assert stale(project) == {"summary", "track"}


def test_a_comment_in_an_objective_trains_nothing_again(study, python, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(study, project, symlinks=True)
    with (project / "stages/objectives/masked.py").open("a") as source:
        source.write("# A remark.\n")
    names = ("pretrain@mim", "features@mim", "finetune@mim")
    done = run_in(project, "dvc", "repro", *names, python=python)
    assert done.returncode == 0, done.stderr
    assert stages_run(done.stdout) == {"pretrain@mim"}
    assert "grad_norm" not in done.stdout  # the line that every epoch ends with
    for name in ("encoder.safetensors", "history.csv"):
        assert (project / "models/mim/0" / name).read_bytes() == (study / "models/mim/0" / name).read_bytes()


def files_of(project, pattern):
    """Return the files that match a pattern, of which there must be some."""
    files = [path for path in project.glob(pattern) if path.is_file() and path.name != ".gitignore"]
    assert files, pattern
    return files


def test_the_same_study_has_the_same_bytes(study, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(study, project, symlinks=True)
    shutil.rmtree(project / "scratch")  # the states of its trainings
    again = (
        "prepare",
        "pretrain --arm cl",
        "features --arm cl",
        "probe --arm cl --probe linear",
        "finetune --arm cl",
        "segment --arm cl",
        "robustness --arm cl",
        "analyze --arm cl --analysis attention",
        "compare",
        "decide",
    )  # pages have tests of their own
    written = (
        *("data/prepared/**/*", "models/cl/**/*", "features/cl/**/*", "results/probe/linear/cl.*"),
        *("results/finetune/cl/**/*", "results/finetune/cl.*", "results/segmentation/cl/**/*"),
        *("results/segmentation/cl.*", "results/robustness/cl.*", "results/analysis/attention/cl.*"),
        *("results/comparison.csv", "results/claims.json", "results/specifications.csv"),
    )
    files = [path.relative_to(project) for pattern in written for path in files_of(project, pattern)]
    for path in files:
        (project / path).unlink()
    with forked_python(hash_seed=1) as python:
        for words in again:
            done = run_in(project, "python", "-m", *f"stages.{words}".split(), python=python)
            assert done.returncode == 0, done.stderr
    for path in files:
        assert (project / path).read_bytes() == (study / path).read_bytes(), path


def test_verdicts_and_report_return_from_the_packed_tables(study, python, tmp_path):
    """As a reader of published tables makes them: in a fresh clone, without any training."""
    clone = as_dvc_repository(copy_project(tmp_path / "clone"))
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    tables = ("python", "-m", "stages.tools.tables")
    for project, *words in (
        (study, *tables, "pack", f"{tmp_path / 'tables.zip'}"),
        (clone, "git", "add", "."),
        (clone, "git", *author, "commit", "--quiet", "--message", "clone"),
        (clone, *tables, "unpack", f"{tmp_path / 'tables.zip'}"),
        (clone, "dvc", "repro", "--single-item", "decide", "report", "summary"),
    ):
        done = run_in(project, *words, python=python)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert stages_run(done.stdout) == {"decide", "report@attention", "report@fourier", "summary"}
    for path in ("results/claims.json", "results/specifications.csv", "reports/pages/fourier.html"):
        assert (clone / path).read_bytes() == (study / path).read_bytes(), path
    assert (clone / "reports/index.html").stat().st_size > 100_000


def test_every_probe_and_analysis_runs_on_an_arm_of_the_study(study, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(study, project, symlinks=True)
    (project / "params.yaml").write_text(toy_params())
    params = read_yaml(project / "params.yaml")
    assert set(LEFT_OUT) <= {*params["probes"], *params["analyses"]}
    for name in LEFT_OUT:
        kind, stage = ("probe", "probe") if name in params["probes"] else ("analysis", "analyze")
        done = forked(project, stage, "--arm", "mim", f"--{kind}", name)
        assert done.returncode == 0, done.stderr
        tables = list(project.glob(f"results/*/{name}/mim.csv"))
        assert len(tables) == 1 and len(tables[0].read_text().splitlines()) > 10
