"""The results of a study are in MLflow once, whatever happens in between."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from stages import track
from stages.study.errors import StudyError
from stages.tracking.store import KEY, PARENT, connect, pending_file
from tests.tracked_study import make_study


@pytest.fixture
def study(tmp_path, monkeypatch, empty_database):
    """The root of a study that ran, with one arm of two seeds."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_STAGE", "track")  # all other stages ran
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_database, tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    make_study(tmp_path)
    return tmp_path


def runs():
    """Every run that is not deleted, by name, the oldest first."""
    by_name: dict = {}
    with connect() as store:
        for run in reversed(store.client.search_runs([store.experiment], max_results=500)):
            by_name.setdefault(run.info.run_name, []).append(run)
    return by_name


def test_the_study_its_arms_and_their_seeds_have_a_run_each(study, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "tall-oaks")
    assert track.track() == "4 new runs; tall-oaks"
    by_name = runs()
    assert set(by_name) == {"tall-oaks", "cl", "cl 0", "cl 7"}
    (whole,), (arm,), (seed,) = by_name["tall-oaks"], by_name["cl"], by_name["cl 7"]
    assert whole.data.metrics == {
        "cl.linear": 0.5,
        "cl.finetune": 0.75,
        "cl.knn": 0.2,
        "claims.supported": 1,
        "claims.undecided": 1,
    }
    assert arm.data.metrics == {
        f"{name}.shape{bound}": pytest.approx(value + difference)
        for name, value in (("knn", 0.2), ("linear", 0.5), ("finetune", 0.75), ("segmentation", 0.25))
        for bound, difference in (("", 0), (".low", -0.1), (".high", 0.1))
    }
    assert seed.data.metrics["linear.shape"] == 0.51 and seed.data.metrics["pretrain.loss"] == 1.5
    with connect() as store:
        points = store.client.get_metric_history(seed.info.run_id, "finetune.loss")
        assert [(point.step, point.value) for point in points] == [(1, 2.5), (2, 1.5)]
        page = store.client.download_artifacts(whole.info.run_id, "reports/index.html")
        names = {file.path for file in store.client.list_artifacts(whole.info.run_id, "results")}
    assert Path(page).read_text() == "<html>report</html>"
    assert names == {"results/claims.json", "results/specifications.csv"}
    assert seed.data.tags[PARENT] == arm.info.run_id and arm.data.tags[PARENT] == whole.info.run_id
    assert len(whole.data.tags["data.digest"]) == len(whole.data.tags["dvc.lock"]) == 32
    assert arm.data.tags["training.device"] == "cpu" and arm.data.tags["training.precision"] == "32-true"


def test_an_arm_shows_the_settings_that_it_uses_and_no_other(study):
    make_study(study, arms=("random", "hybrid"))
    params = yaml.safe_load((study / "params.yaml").read_text())
    params["arms"]["hybrid"] |= {"lr": 0.5}
    params["arms"]["moco"] = {"objective": "imported", "weights": "vit.pth", "format": "moco_v3"}
    for folder in ("models", "results/finetune"):
        shutil.copytree(f"{folder}/random", f"{folder}/moco")
    for path in Path("results").rglob("random.json"):
        shutil.copy(path, path.with_name("moco.json"))
    (study / "params.yaml").write_text(yaml.safe_dump(params))
    track.track()
    by_name = runs()
    random, hybrid, moco = (by_name[name][0].data.params for name in ("random", "hybrid", "moco"))
    assert hybrid["objective"] == "hybrid" and hybrid["cl_weight"] == "0.2" and hybrid["pretrain.lr"] == "0.5"
    assert (
        "contrastive.temperature" in hybrid and "masked.mask_ratio" in hybrid and hybrid["seeds"] == "[0, 7]"
    )
    assert not [name for name in hybrid if name.startswith(("dino.", "probes.", "finetune."))]
    for arm in (random, moco):
        assert not [name for name in arm if name.startswith(("pretrain.", "contrastive."))]
    assert moco["vit.width"] == "48" and moco["weights"] == "vit.pth" and "moco 0" in by_name


def test_the_same_results_are_written_once_and_shared_between_states(study):
    track.track()
    before = runs()
    assert track.track() == "nothing new" and runs().keys() == before.keys()
    make_study(study, arms=("cl", "mim"))
    assert track.track().startswith("4 new runs")  # the study, mim and its seeds
    now = runs()
    assert len(now["cl"]) == 1 and len(now["cl 0"]) == 1
    newest = max((run for some in now.values() for run in some if "mim.knn" in run.data.metrics), key=str)
    assert now["cl"][0].data.tags[PARENT] == newest.info.run_id  # of the state mirrored last
    make_study(study)
    assert track.track() == "nothing new"
    (again,) = runs()["cl"]
    assert again.data.tags[PARENT] != newest.info.run_id
    make_study(study, knn=0.3)
    assert track.track().startswith("4 new runs")
    assert len(runs()["cl"]) == 2


@pytest.mark.parametrize(
    ("call", "number"),
    [("create_run", 2), ("log_batch", 3), ("log_artifact", 1), ("set_terminated", 4), ("set_tag", 3)],
)
def test_what_a_crash_leaves_is_done_again(study, monkeypatch, call, number):
    from mlflow.tracking import MlflowClient

    real, calls = getattr(MlflowClient, call), []

    def failing(self, *args, **kwargs):
        calls.append(call)
        if len(calls) == number:
            raise OSError("database or disk is full")
        return real(self, *args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, call, failing)
        track.main()
    assert "disk is full" in pending_file().read_text()
    track.main()
    assert not pending_file().exists()
    by_name = runs()
    assert len(by_name) == 4 and all(len(some) == 1 for some in by_name.values())
    assert all(some[0].info.status == "FINISHED" for some in by_name.values())
    (arm,) = by_name["cl"]
    assert {by_name[f"cl {seed}"][0].data.tags[PARENT] for seed in (0, 7)} == {arm.info.run_id}
    (parent,) = (some[0] for name, some in by_name.items() if name.startswith("study"))
    assert arm.data.tags[PARENT] == parent.info.run_id and len(parent.data.tags[KEY]) == 32


def test_without_a_server_the_study_goes_on_and_the_next_run_catches_up(study, monkeypatch, capsys):
    with socket.socket() as closed, socket.create_server(("127.0.0.1", 0)) as silent:
        closed.bind(("127.0.0.1", 0))
        for port in (closed.getsockname()[1], silent.getsockname()[1]):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
            started = time.monotonic()
            track.main()  # returns: exit status 0, so DVC takes the stage for done
            assert time.monotonic() - started < 30  # MLflow's own patience is minutes
            warning = capsys.readouterr().err
            assert warning.startswith("track: warning: MLflow is not up to date: http://127.0.0.1")
            assert warning.count("\n") == 1 and "secret" not in warning + pending_file().read_text()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    track.main()
    assert not pending_file().exists() and len(runs()) == 4


def test_by_hand_a_study_under_change_is_not_taken_for_a_state(study, monkeypatch):
    monkeypatch.delenv("DVC_STAGE")
    answers = ['{"probe@cl-knn": [], "track": []}', '{"track": []}']
    monkeypatch.setattr(
        "stages.track.subprocess.run", lambda *_, **__: subprocess.CompletedProcess([], 0, answers.pop(0))
    )
    assert track.track() == "nothing written: probe@cl-knn must run first; run `make study`"
    assert track.outdated() == []


def test_without_results_one_is_told_what_to_do(study):
    (study / "dvc.lock").unlink()
    with pytest.raises(StudyError, match="make study"):
        track.track()
