"""Where the runs go, and that none counts before it is whole."""

import fcntl
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.tracking import store as tracking
from stages.tracking.records import Record
from stages.tracking.store import KIND, connect, make_database, place
from tests.project import ROOT


@pytest.fixture
def project(tmp_path, monkeypatch, empty_database):
    """The root of a project whose database has no experiment yet."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "project"
    (root / "mlruns").mkdir(parents=True)
    shutil.copy(empty_database, root / "mlruns" / "mlflow.db")
    monkeypatch.chdir(root)
    return root


def test_runs_go_to_the_project_even_from_a_temporary_copy_of_it_and_a_named_server_wins(
    project, monkeypatch
):
    assert place().uri == f"sqlite:///{project}/mlruns/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", "/elsewhere/project")
    assert place().artifacts == "/elsewhere/project/mlruns/artifacts"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert place() == tracking.Place("http://mlflow.example:5000", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own/runs.db")
    assert place().database == project / "own" / "runs.db"


def test_the_experiment_is_made_once_for_model_training_with_its_artifacts_beside_it(project):
    with connect() as store:
        first = store.client.get_experiment(store.experiment)
    with connect() as store:
        assert store.experiment == first.experiment_id
        store.client.delete_experiment(store.experiment)  # as by hand, in MLflow's pages
    with connect() as store:
        assert store.experiment == first.experiment_id
        assert store.client.get_experiment(store.experiment).tags[KIND[0]] == KIND[1]
    assert first.artifact_location == str(project / "mlruns" / "artifacts")


def test_many_and_long_values_arrive(project):
    params = {f"p{index}": index for index in range(130)}
    params |= {"long": "x" * 7000, "list": [1, 2], "odd#(key)": None}
    metrics = [("loss", step / 10, step) for step in range(900)]
    with connect() as store:
        run = store.mirror(Record("a", params, metrics, {"long": "y" * 9000}))
        data = store.client.get_run(run).data
        history = store.client.get_metric_history(run, "loss")
    assert len(data.params) == 133 and data.params["p129"] == "129"
    assert data.params["list"] == "[1, 2]" and data.params["odd__key_"] == "null"
    assert data.params["long"] == "x" * 5999 + "…" and data.tags["long"] == "y" * 7999 + "…"
    assert [(point.step, point.value) for point in history] == [(step, value) for _, value, step in metrics]


def test_a_project_that_moves_begins_an_experiment_and_keeps_the_old_one(project, monkeypatch):
    with connect() as store:
        old, run = store.experiment, store.mirror(Record("a", {"a": 1}, []))
    moved = project.parent / "moved"
    project.rename(moved)
    monkeypatch.chdir(moved)
    with connect() as store:
        assert store.experiment != old and store.find(Record("a", {"a": 1}, []).key) is None
        assert store.client.get_run(run).info.experiment_id == old
        assert str(project) in store.client.get_experiment(old).name
        new = store.client.get_run(store.mirror(Record("a", {"a": 1}, [])))
        assert new.info.artifact_uri.startswith(f"{moved}/mlruns/artifacts/")


def test_a_project_that_moves_to_and_fro_finds_its_experiments_again(project, monkeypatch):
    moved = project.parent / "moved"
    places = {project: "", moved: ""}
    for target in (project, moved, project, moved, project):
        if not target.exists():
            (moved if target == project else project).rename(target)
        monkeypatch.chdir(target)
        with connect() as store:
            assert places[target] in ("", store.experiment)
            assert store.client.get_experiment(store.experiment).artifact_location == place().artifacts
        places[target] = store.experiment


def test_a_taken_name_does_not_stop_a_project_that_moves(project, monkeypatch):
    with connect() as store:
        taken = f"{store.client.get_experiment(store.experiment).name} of {place().artifacts}"
        store.client.create_experiment(taken, artifact_location="/elsewhere")
        old = store.experiment
    moved = project.parent / "moved"
    project.rename(moved)
    monkeypatch.chdir(moved)
    with connect() as store:
        assert store.client.get_experiment(old).name == f"{taken} 2"


def test_processes_that_start_at_once_on_nothing_all_succeed(tmp_path, monkeypatch, project):
    monkeypatch.chdir(tmp_path)
    fork = multiprocessing.get_context("fork")  # MLflow is imported here already
    both = [fork.Process(target=write_one_run, args=(name,)) for name in ("one", "two", "two")]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=60)
    assert [process.exitcode for process in both] == [0, 0, 0]
    with connect() as store:
        runs = store.client.search_runs([store.experiment])
    assert sorted(run.info.run_name for run in runs) == ["one", "two"]


def write_one_run(name):
    with connect() as store:
        store.mirror(Record(name, {"name": name}, []))


def test_mlflow_is_imported_late_and_told_to_send_nothing_and_not_to_wait(project, monkeypatch):
    code = "import sys, stages.track; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    for name in ("DISABLE_TELEMETRY", "HTTP_REQUEST_MAX_RETRIES", "HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
    with connect():
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
        assert int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10
        assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 1


def test_a_database_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(client):
        Path(client.tracking_uri.removeprefix("sqlite:///")).write_text("half")
        raise OSError("no space left on device")

    monkeypatch.setattr("mlflow.tracking.MlflowClient.search_experiments", full)
    with pytest.raises(OSError, match="no space"):
        make_database(tmp_path / "mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_holds_the_database_for_ever_is_not_waited_for(project, monkeypatch):
    monkeypatch.setattr(tracking, "PATIENCE", 1)
    with (project / "mlruns" / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match=r"mlflow\.lock for 1 s"), connect():
            pass
    with connect() as store:
        assert store.find("a") is None
