"""Where the runs go, and that none counts before it is whole."""

import fcntl
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stages.tracking import store as tracking
from stages.tracking.store import KEY, MEMBER, PARENT, Record, connect, make_database, place

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch, empty_database):
    """The root of a project whose database has no experiment yet."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    root = tmp_path / "project"
    (root / "mlruns").mkdir(parents=True)
    shutil.copy(empty_database, root / "mlruns" / "mlflow.db")
    monkeypatch.chdir(root)
    return root


def written(store, key, **fields):
    record = Record(key, f"run {key}", **fields)
    run = store.start(record)
    store.finish(run, record)
    return run


def test_runs_go_to_the_project_even_from_a_temporary_copy_of_it(project, monkeypatch):
    assert place().uri == f"sqlite:///{project}/mlruns/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", "/elsewhere/project")
    assert place().uri == "sqlite:////elsewhere/project/mlruns/mlflow.db"
    assert place().artifacts == "/elsewhere/project/mlruns/artifacts"


def test_a_named_server_wins(project, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/elsewhere/project")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert place() == tracking.Place("http://mlflow.example:5000", None, ours=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own/runs.db")
    assert place().database == project / "own" / "runs.db"


def test_the_experiment_is_made_once_with_its_artifacts_beside_it(project):
    with connect() as store:
        first = store.client.get_experiment(store.experiment)
    with connect() as store:
        assert store.experiment == first.experiment_id
    assert first.artifact_location == str(project / "mlruns" / "artifacts")


def test_a_run_counts_only_when_it_is_finished(project):
    with connect() as store:
        run = store.start(Record("a", "half"))
        assert store.find("a") is None
        store.finish(run, Record("a", "half"))
        assert store.find("a").info.run_id == run
        assert store.find("b") is None


def test_sweeping_deletes_what_will_be_redone_and_what_is_abandoned(project):
    with connect() as store:
        whole = written(store, "whole")
        redone = store.start(Record("redone", "redone"))
        other = store.start(Record("other", "another process writes this now"))
        abandoned = store.start(Record("abandoned", "its process died", tags={"study.written": "1000"}))
        store.sweep(["whole", "redone"])
        left = {run.info.run_id for run in store.client.search_runs([store.experiment])}
    assert left == {whole, other} and not left & {redone, abandoned}


def test_many_and_long_values_arrive(project):
    params = {f"p{index}": index for index in range(130)}
    params |= {"long": "x" * 7000, "list": [1, 2], "odd#(key)": None}
    metrics = [("loss", step / 10, step) for step in range(1900)]
    with connect() as store:
        run = written(store, "a", params=params, metrics=metrics, tags={"long": "y" * 9000})
        data = store.client.get_run(run).data
        history = store.client.get_metric_history(run, "loss")
    assert len(data.params) == 133
    assert (
        data.params["p129"] == "129"
        and data.params["list"] == "[1, 2]"
        and data.params["odd__key_"] == "null"
    )
    assert data.params["long"] == "x" * 5999 + "…"
    assert data.tags["long"] == "y" * 7999 + "…"
    assert [(point.step, point.value) for point in history] == [(step, value) for _, value, step in metrics]


def test_the_run_lasts_as_long_as_the_stage(project):
    with connect() as store:
        info = store.client.get_run(written(store, "a", seconds=90.0, finished=1_000_000.0)).info
    assert (info.start_time, info.end_time) == (999_910_000, 1_000_000_000)


def test_a_project_that_moves_keeps_its_artifacts(project, monkeypatch):
    (project / "figure.png").write_bytes(b"one")
    with connect() as store:
        run = written(store, "a", files=[(project / "figure.png", "figures")])
    moved = project.parent / "moved"
    project.rename(moved)
    monkeypatch.chdir(moved)
    with connect() as store:
        found = store.client.download_artifacts(run, "figures/figure.png")
        new = written(store, "b", files=[(moved / "figure.png", None)])
        assert store.client.get_run(new).info.artifact_uri.startswith(f"{moved}/mlruns/artifacts/")
    assert Path(found).read_bytes() == b"one"
    assert not project.exists()


def test_a_run_is_nested_where_it_came_first_and_belongs_to_every_state_that_has_it(project):
    with connect() as store:
        stage = written(store, "stage")
        first, second = written(store, "first"), written(store, "second")
        store.adopt({stage: {}}, parent=first, state="s1")
        store.adopt({stage: store.find("stage").data.tags}, parent=second, state="s2")
        store.adopt({stage: store.find("stage").data.tags}, parent=second, state="s2")
        tags = store.find("stage").data.tags
        assert (tags[PARENT], tags[MEMBER]) == (first, "s1 s2")
        found = store.client.search_runs([store.experiment], f"tags.\"{MEMBER}\" LIKE '%s2%'")
        assert [run.info.run_id for run in found] == [stage]


@pytest.mark.parametrize("loss", ["deleted", "unfinished", "unknown"])
def test_a_run_whose_parent_is_gone_gets_the_next(project, loss):
    with connect() as store:
        gone = "0" * 32 if loss == "unknown" else store.start(Record("old", "old"))
        if loss == "deleted":
            store.finish(gone, Record("old", "old"))
            store.client.delete_run(gone)
        stage, parent = written(store, "stage", tags={PARENT: gone}), written(store, "new")
        store.adopt({stage: store.find("stage").data.tags}, parent=parent, state="s")
        assert store.find("stage").data.tags[PARENT] == parent


def test_processes_that_start_at_once_on_nothing_all_succeed(tmp_path, monkeypatch, project):
    monkeypatch.chdir(tmp_path)
    fork = multiprocessing.get_context("fork")  # MLflow is imported here already
    both = [fork.Process(target=write_one_run, args=(key,)) for key in ("one", "two")]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=60)
    assert [process.exitcode for process in both] == [0, 0]
    rows = sqlite3.connect(tmp_path / "mlruns" / "mlflow.db").execute(
        "SELECT tags.value, status FROM tags JOIN runs USING (run_uuid) WHERE key = ? ORDER BY 1", (KEY,)
    )
    assert rows.fetchall() == [("one", "FINISHED"), ("two", "FINISHED")]


def write_one_run(key):
    with connect() as store:
        written(store, key)


def test_mlflow_is_imported_late_and_told_to_send_nothing_and_not_to_wait(project, monkeypatch):
    code = "import sys, stages.track; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
    for name in ("DISABLE_TELEMETRY", "HTTP_REQUEST_MAX_RETRIES", "HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(f"MLFLOW_{name}")
    with connect():
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
        assert int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10
        assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 1


def test_a_database_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    class Full:
        def raw_connection(self):
            return self

        @property
        def driver_connection(self):
            return self

        def backup(self, file):
            file.execute("CREATE TABLE half (x)")
            raise OSError("no space left on device")

    broken = type("Store", (), {"engine": Full()})
    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", lambda *_: broken)
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
