"""What DVC computed is in MLflow once, whatever happens in between."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dvc.repo import Repo

from stages import track
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.tracking.lockfile import UNMIRRORED, flat, stage_addresses
from stages.tracking.measures import measures
from stages.tracking.store import MEMBER, PARENT, Store, connect, pending_file
from tests.tracked_study import PROJECT, make_study, repro


class Server:
    """A `mlflow server` process on this machine, with a database in a folder of its own."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env=os.environ | quiet,
            start_new_session=True,
        )

    def wait(self):
        deadline = time.monotonic() + 90
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert time.monotonic() < deadline, "mlflow server did not start"
            time.sleep(0.2)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=20)


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory, empty_database):
    """An MLflow server, which starts while the other tests run: it takes ten seconds."""
    server = Server(tmp_path_factory.mktemp("server"))
    shutil.copy(empty_database, server.folder / "mlflow.db")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def study(tmp_path, monkeypatch, empty_database):
    """The root of a study that ran, with one arm: 15 stages."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_database, tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    make_study(tmp_path)
    return tmp_path


def runs():
    """Every run that is not deleted; stage -> runs, the oldest first."""
    found: dict = {}
    with connect() as store:
        for run in reversed(store.client.search_runs([store.experiment], max_results=500)):
            found.setdefault(run.data.tags["study.stage"], []).append(run)
    return found


def identifiers():
    return sorted(run.info.run_id for some in runs().values() for run in some)


def history(run, metric):
    with connect() as store:
        points = store.client.get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in points]


def artifact(run, path):
    with connect() as store:
        return Path(store.client.download_artifacts(run.info.run_id, path)).read_text()


def addresses():
    graph = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    return [
        address for address in stage_addresses(graph, load_params(stage="track")) if address not in UNMIRRORED
    ]


def test_the_stages_are_those_that_dvc_resolves():
    with Repo(str(PROJECT)) as repo:
        resolved = {stage.addressing.split(":")[-1] for stage in repo.index.stages}
    graph = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    assert set(stage_addresses(graph, load_params(PROJECT / "params.yaml"))) == resolved


def test_every_stage_has_a_run_with_what_belongs_to_it(study):
    assert "15 of 15 stages were new" in track.track()
    found = runs()
    assert set(found) == {*addresses(), "arm@cl", "study"}
    assert all(len(some) == 1 and some[0].info.status == "FINISHED" for some in found.values())
    pretrain, knn = found["pretrain@cl"][0], found["probe@cl-knn"][0]
    assert pretrain.data.params["arms.cl.objective"] == "contrastive"
    assert not any(name.startswith("probes") for name in pretrain.data.params)
    assert history(pretrain, "loss") == [(0, 2.5), (1, 1.5)]
    assert history(pretrain, "lr") == [(0, 0.1), (1, 0.05)]
    assert pretrain.data.tags["out.models/cl"].endswith(".dir")
    assert pretrain.data.tags["data.digest"] == "d1g35t"
    assert knn.data.metrics == {"shape.accuracy": 0.2, "shape.low": 0.1, "shape.by_pooling.mean": 0.2}
    assert knn.data.params["shape.pooling"] == "mean" and len(knn.data.params["protocol"]) == 6000
    attention, fourier = found["analyze@cl-attention"][0], found["analyze@cl-fourier"][0]
    assert history(attention, "distance") == [(1, 9), (2, 4.5)]
    assert history(attention, "nmi") == [(1, 0), (2, 0)]
    assert set(attention.data.metrics) == {"distance", "nmi"}
    assert history(fourier, "log_amplitude") == [(0, -3)]
    decided = {"frequency.effect": 0.25, "frequency.p_adjusted": 0.01, "frequency.specifications.agree": 0.5}
    assert found["decide"][0].data.metrics == decided
    assert found["decide"][0].data.params["frequency.verdict"] == "supported"
    assert not list(study.glob(f"mlruns/artifacts/{pretrain.info.run_id}/artifacts/*"))


def test_what_is_measured_of_an_arm_and_its_recipe_are_named_as_in_every_other_arm(study):
    make_study(study, arms=("cl", "hybrid"))
    params = yaml.safe_load((study / "params.yaml").read_text())
    params["arms"]["hybrid"] |= {"lr": 0.5, "seed": 7}
    (study / "params.yaml").write_text(yaml.safe_dump(params))
    repro(study, params)
    track.track()
    found = runs()
    cl, hybrid = (found[f"arm@{arm}"][0] for arm in ("cl", "hybrid"))
    assert cl.info.run_name == "cl" and cl.data.tags["study.arm"] == "cl"
    assert set(cl.data.metrics) == set(hybrid.data.metrics)
    assert cl.data.metrics == {
        "pretrain.loss": 1.5,
        "pretrain.lr": 0.05,
        "knn.shape.accuracy": 0.2,
        "linear.shape.accuracy": 0.5,
        "finetune.loss": 1.5,
        "finetune.lr": 0.05,
        "finetune.shape.accuracy": 0.5,
        "robustness.shape.accuracy": 0.5,
        "segmentation.ways.linear.miou": 0.25,
        "attention.distance": 4.5,
        "attention.nmi": 0,
        "fourier.log_amplitude": -3,
    }
    assert history(cl, "finetune.loss") == [(0, 2.5), (1, 1.5)]
    assert history(cl, "attention.distance") == [(1, 9), (2, 4.5)]
    assert set(cl.data.params) == set(hybrid.data.params)
    assert not [name for name in cl.data.params if name.startswith("arms.")]
    assert cl.data.params["stop_epoch"] == "null"
    names = ("objective", "cl_weight", "pretrain.lr", "pretrain.epochs", "seed", "vit.width", "probes.knn.k")
    lr, epochs = params["pretrain"]["lr"], str(params["pretrain"]["epochs"])
    values = [[run.data.params[name] for name in names] for run in (cl, hybrid)]
    assert values[0] == ["contrastive", "null", str(lr), epochs, str(params["seed"]), "48", "20"]
    assert values[1] == ["hybrid", "0.2", "0.5", epochs, "7", "48", "20"]


def test_an_imported_arm_has_no_recipe_of_ours(study):
    params = yaml.safe_load((study / "params.yaml").read_text())
    params["arms"] = {"moco": {"objective": "imported", "weights": "vit.pth", "format": "moco_v3"}}
    (study / "params.yaml").write_text(yaml.safe_dump(params))
    shown = track.recipe(
        {"pretrain.lr": 1, "probes.knn.k": 20}, arm="moco", study=load_params(), folder=study / "models/cl"
    )
    assert not [name for name in shown if name.startswith(("pretrain.", "objectives."))]
    assert (shown["weights"], shown["vit.width"], shown["probes.knn.k"]) == ("vit.pth", 48, 20)


def test_the_images_are_a_data_set_of_what_reads_them(study):
    track.track()
    found = runs()
    reading = {name for name, (run,) in found.items() if run.inputs.dataset_inputs}
    assert reading == {
        "study",
        "arm@cl",
        *(f"{stage}@cl" for stage in ("pretrain", "features", "finetune", "robustness", "segment")),
        *(f"probe@cl-{probe}" for probe in ("knn", "linear")),
        *(f"analyze@cl-{analysis}" for analysis in ("attention", "fourier")),
    }
    data = found["study"][0].inputs.dataset_inputs[0].dataset
    assert (data.name, data.digest) == ("images", "d1g35t")
    profile = {"images": {"train": 8}, "classes": {"shape": 1}, "image_size": None}
    assert json.loads(data.profile) == profile and json.loads(data.source) == {"uri": "path/to/images"}


def test_of_a_table_of_several_measures_each_has_its_own_curve(tmp_path):
    rows = [
        ("rankme", "token", "after", block, image, 0, block + image) for block in (1, 2) for image in (0, 4)
    ]
    rows += [("unison", "token", "across", block, 0, 0, 0.5) for block in (1, 2)]
    rows += [("log_sigma", "token", "after", 2, -1, index, -index) for index in (1, 2)]
    columns = ["measure", "level", "place", "block", "image", "index", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "cl.csv", index=False)
    numbers, _ = measures(tmp_path / "cl.csv")
    assert sorted(numbers) == [
        ("rankme.token.after", 3, 1),
        ("rankme.token.after", 4, 2),
        ("unison.token.across", 0.5, 1),
        ("unison.token.across", 0.5, 2),
    ]


def test_neighbouring_blocks_stand_for_the_pairs_of_a_table_of_similarities(tmp_path):
    rows = [(image, "positions", "raw", block, block, block + image) for block in (0, 1) for image in (0, 1)]
    rows += [(None, "cka", "centred", block, other, 0.1 * other) for block, other in ((1, 0), (2, 0), (2, 1))]
    table = pd.DataFrame(rows, columns=["image", "measure", "variant", "block", "other_block", "value"])
    table.to_csv(tmp_path / "cl.csv", index=False)
    numbers, _ = measures(tmp_path / "cl.csv")
    assert sorted(numbers) == [
        ("cka.centred", 0, 1),
        ("cka.centred", 0.1, 2),
        ("positions.raw", 0.5, 0),
        ("positions.raw", 1.5, 1),
    ]


def test_the_run_of_the_study_is_complete_in_itself(study, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "tall-oaks")
    track.track()
    found = runs()
    whole = found["study"][0]
    assert whole.info.run_name == whole.data.tags["dvc.exp"] == "tall-oaks"
    assert whole.data.metrics == {
        "cl.knn.shape.accuracy": 0.2,
        "cl.linear.shape.accuracy": 0.5,
        "cl.finetune.shape.accuracy": 0.5,
        "cl.robustness.shape.accuracy": 0.5,
        "cl.segmentation.ways.linear.miou": 0.25,
        "cl.attention.distance": 4.5,
        "cl.attention.nmi": 0,
        "cl.fourier.log_amplitude": -3,
        "claims.frequency.effect": 0.25,
        "claims.frequency.specifications.agree": 0.5,
    }
    assert history(whole, "cl.attention.distance") == [(1, 9), (2, 4.5)]
    params = flat(yaml.safe_load((study / "params.yaml").read_text()))
    shown = {name for name in params if not name.startswith(("runtime.", "linear_augmented."))}
    shown |= {"linear_augmented.arms", "claims.frequency.verdict"}  # no arm is probed so, so no stage ran
    assert set(whole.data.params) == shown
    assert artifact(whole, "index.html") == "<html>report</html>"
    assert artifact(whole, "figures/attention/figure.png") == "PNG"
    claims, stages = json.loads(artifact(whole, "claims.json")), json.loads(artifact(whole, "stages.json"))
    claim = dict(zip(claims["columns"], claims["data"][0], strict=True))
    assert claim["statement"] == "MIM > CL" and claim["verdict"] == "supported"
    assert claim["specifications agree"] == 0.5 and not [name for name in claim if "." in name]
    specifications = json.loads(artifact(whole, "specifications.json"))
    assert specifications["columns"][:3] == ["claim", "specification", "blocks"]
    assert specifications["data"] == [
        ["frequency", 1, None, 0.25, "supported"],
        ["frequency", 2, "all", 0, "undecided"],
    ]
    assert [row[stages["columns"].index("stage")] for row in stages["data"]] == addresses()
    note = whole.data.tags["mlflow.note.content"]
    assert f"[cl-knn](#/experiments/1/runs/{found['probe@cl-knn'][0].info.run_id}?" in note
    assert f"runs?searchFilter=tags.%22study.kind%22%20%3D%20%27arm%27%20and%20tags.%22{MEMBER}%22" in note
    assert f"#/compare-runs?runs=%5B%22{found['arm@cl'][0].info.run_id}%22%5D" in note
    assert found["arm@cl"][0].data.tags[PARENT] == whole.info.run_id
    above = {"arm@cl": [stage for stage in addresses() if "@cl" in stage]}
    above["study"] = [stage for stage in addresses() if "@cl" not in stage]
    for run, stages in above.items():
        assert stages
        assert {found[stage][0].data.tags[PARENT] for stage in stages} == {found[run][0].info.run_id}


def test_tracking_again_adds_nothing(study):
    track.track()
    before = identifiers()
    assert track.track() == "nothing new; all 15 stages are in MLflow"
    assert identifiers() == before


def test_two_states_share_the_runs_of_what_did_not_change(study):
    track.track()
    make_study(study, k=40)
    assert "3 of 15 stages were new" in track.track()
    found = runs()
    again = {stage for stage, some in found.items() if len(some) == 2}
    assert again == {"probe@cl-knn", "decide", "summary", "arm@cl", "study"}
    first, second = found["study"]
    states = [run.data.tags["study.key"][:8] for run in found["study"]]
    arms = [run.info.run_id for run in found["arm@cl"]]
    assert found["pretrain@cl"][0].data.tags[PARENT] == arms[0]
    assert found["pretrain@cl"][0].data.tags[MEMBER].split() == states
    assert [run.data.tags[PARENT] for run in found["probe@cl-knn"]] == arms
    assert [run.data.tags[PARENT] for run in found["arm@cl"]] == [first.info.run_id, second.info.run_id]
    assert found["pretrain@cl"][0].info.run_id in second.data.tags["mlflow.note.content"]
    assert [run.data.metrics["cl.knn.shape.accuracy"] for run in found["study"]] == [0.2, 0.4]
    make_study(study, k=20)
    assert track.track().startswith("nothing new")


def test_a_removed_arm_is_not_in_the_next_state(study):
    make_study(study, arms=("cl", "random"))
    track.track()
    make_study(study, arms=("cl",))
    assert "pretrain@random" in yaml.safe_load((study / "dvc.lock").read_text())["stages"]
    track.track()
    both, one = runs()["study"]
    assert "random.knn.shape.accuracy" in both.data.metrics
    assert not [name for name in [*one.data.metrics, *one.data.params] if "random" in name]
    assert "random" not in one.data.tags["mlflow.note.content"]


def test_without_a_server_the_study_goes_on_and_the_next_run_catches_up(study, monkeypatch, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed.getsockname()[1]}")
    track.main()
    warning = capsys.readouterr().err
    assert warning.startswith("track: warning: MLflow is not up to date: http://127.0.0.1")
    assert warning.count("\n") == 1 and "secret" not in warning + pending_file().read_text()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    track.main()
    assert not pending_file().exists()
    assert set(runs()) == {*addresses(), "arm@cl", "study"}


def test_an_experiment_deleted_by_hand_comes_back(study):
    track.main()
    with connect() as store:
        store.client.delete_experiment(store.experiment)
    track.main()
    assert not pending_file().exists() and "study" in runs()


def test_a_server_that_never_answers_is_given_up(study, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        track.main()
    assert time.monotonic() - started < 30  # MLflow's own patience is minutes
    assert "warning" in capsys.readouterr().err and pending_file().exists()


@pytest.mark.parametrize(
    ("call", "number", "error"),
    [
        ("create_run", 5, OSError("database or disk is full")),
        ("log_batch", 4, KeyboardInterrupt()),
        ("set_terminated", 3, OSError("database or disk is full")),
        ("log_table", 1, OSError("database or disk is full")),
        ("set_terminated", 13, OSError("database or disk is full")),
        ("adopt", 1, OSError("database or disk is full")),
        ("adopt", 2, OSError("database or disk is full")),
    ],
)
def test_what_a_crash_leaves_is_done_again(study, monkeypatch, call, number, error):
    from mlflow.tracking import MlflowClient

    owner = Store if call == "adopt" else MlflowClient
    real, calls = getattr(owner, call), []

    def failing(self, *args, **kwargs):
        calls.append(call)
        if len(calls) == number:
            raise error
        return real(self, *args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(owner, call, failing)
        if isinstance(error, KeyboardInterrupt):
            with pytest.raises(SystemExit) as stopped:
                track.main()
            assert stopped.value.code == 130
        else:
            track.main()
            assert "disk is full" in pending_file().read_text()
    before = {run.info.run_id for some in runs().values() for run in some if run.info.status == "FINISHED"}
    assert "study" not in runs() or runs()["study"][0].info.status == "RUNNING"
    track.main()
    found = runs()
    assert set(found) == {*addresses(), "arm@cl", "study"}
    assert all(len(some) == 1 and some[0].info.status == "FINISHED" for some in found.values())
    assert before < set(identifiers())
    above = {found[run][0].info.run_id for run in ("arm@cl", "study")}
    assert {found[stage][0].data.tags[PARENT] for stage in addresses()} == above
    assert found["arm@cl"][0].data.tags[PARENT] == found["study"][0].info.run_id
    assert found["pretrain@cl"][0].data.metrics["loss"] == 1.5


def test_only_what_was_computed_here_has_a_duration_and_a_machine(study):
    (study / "scratch").mkdir()
    with (study / "scratch" / "timings.jsonl").open("w") as file:
        for stage, age in (("pretrain@cl", 0), ("finetune@cl", 3600)):
            about = {"time": time.time() - age, "process": 1}
            began = {"event": "began", "stage": stage, "ran_with": ["contrastive", "cuda:1", "bf16-mixed"]}
            for event in (began, {"event": "done", "seconds": 90.5, "said": ""}):
                print(json.dumps(about | event), file=file)
    track.track()
    found = runs()
    here, restored, unknown = (found[stage][0] for stage in ("pretrain@cl", "finetune@cl", "probe@cl-knn"))
    assert here.data.metrics["seconds"] == 90.5 and "on.torch" in here.data.tags
    assert here.data.tags["on.device"] == "cuda:1" and here.data.tags["on.precision"] == "bf16-mixed"
    assert here.info.end_time - here.info.start_time == 90_500
    for other in (restored, unknown, found["study"][0]):
        assert "seconds" not in other.data.metrics and "on.torch" not in other.data.tags
        assert other.data.tags["data.digest"] == "d1g35t"


def test_a_study_under_change_is_not_taken_for_a_state(study):
    params = yaml.safe_load((study / "params.yaml").read_text())
    params["probes"]["knn"]["k"] = 5
    (study / "params.yaml").write_text(yaml.safe_dump(params))
    assert "probe@cl-knn ran with another probes.knn (3 in all)" in track.track()
    assert set(runs()) == set(addresses())


def test_outs_that_are_not_what_the_stage_wrote_are_left_out(study):
    (study / "results/probe/knn/cl.json").write_text("{}")
    (study / "models/cl/history.csv").unlink()
    lock = yaml.safe_load((study / "dvc.lock").read_text())
    del lock["stages"]["summary"]
    (study / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert "summary has not run (3 in all)" in track.track()
    assert set(runs()) == set(addresses()) - {"summary", "pretrain@cl", "probe@cl-knn"}


def test_numbers_that_yaml_versions_read_differently_are_the_same(study):
    lock = (study / "dvc.lock").read_text()
    rate = load_params().finetune.lr
    assert f"lr: {rate}" in lock
    without_point = f"lr: {1e6 * rate:.0f}e-06"  # a number in YAML 1.2, a string in 1.1
    (study / "dvc.lock").write_text(lock.replace(f"lr: {rate}", without_point))
    track.track()
    found = runs()
    assert {found[stage][0].data.params["finetune.lr"] for stage in ("finetune@cl", "study")} == {str(rate)}


def test_without_results_one_is_told_what_to_do(study):
    (study / "dvc.lock").unlink()
    with pytest.raises(StudyError, match="dvc repro"):
        track.track()


def test_numbers_and_words_of_a_result(tmp_path):
    file = tmp_path / "cl.json"
    shape = {"accuracy": 0.5, "ok": True, "pooling": "mean", "none": None}
    file.write_text(json.dumps({"labels": {"shape": shape}, "list": [1, 2], "long": [0] * 99}))
    numbers, words = measures(file)
    assert numbers == [("shape.accuracy", 0.5, 0), ("list.0", 1, 0), ("list.1", 2, 0)]
    assert words == {"shape.ok": True, "shape.pooling": "mean"}


def test_a_long_list_of_stages_fits_the_description():
    rows = [{"stage": f"probe{n}@arm", "run": "0" * 32} for n in range(300)]
    text = track.description(rows, {"arm": "0" * 32}, state="a" * 32, experiment="1")
    assert 7000 < len(text) <= 8000 and text.endswith("stages.json")


def test_dvc_stages_before_track_are_in_its_lock_file_even_if_restored(study, monkeypatch, capfd):
    root = study / "sandbox"
    root.mkdir()
    shutil.copy(study / "params.yaml", root)
    graph = {
        "prepare": {
            "cmd": 'mkdir results && echo \'{"labels": {"a": {"x": 3}}}\' > results/cl.json',
            "deps": ["params.yaml"],
            "outs": ["results"],
        },
        "track": {"cmd": f"{sys.executable} -m stages.track", "deps": ["results"], "params": ["arms"]},
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": graph}))
    (root / "mlruns").mkdir()
    shutil.copy(study / "mlruns" / "mlflow.db", root / "mlruns")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.chdir(root)
    with Repo.init(str(root), no_scm=True) as repo:
        repo.reproduce("prepare")
        shutil.rmtree(root / "results")
        (root / "dvc.lock").unlink()
        capfd.readouterr()
        repo.reproduce()
    told = capfd.readouterr().out
    assert "computing" not in told and "1 of 1 stages were new" in told
    assert set(runs()) == {"prepare", "study"}


def test_a_server_that_dies_in_between_and_comes_back_has_everything_once(study, monkeypatch, server, capsys):
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    server.wait()
    finish, finished = MlflowClient.set_terminated, []

    def finish_some(self, run, *args, **kwargs):
        if len(finished) == 5:
            server.kill()
        finish(self, run, *args, **kwargs)
        finished.append(run)

    with monkeypatch.context() as dying:
        dying.setattr(MlflowClient, "set_terminated", finish_some)
        track.main()  # returns: exit status 0, so DVC takes the stage for done
    told = capsys.readouterr()
    assert "track · done" in told.out and "left for the next" in told.out
    assert told.err.startswith(f"track: warning: MLflow is not up to date: {server.uri}")
    assert told.err.count("\n") == 1 and pending_file().exists()

    server.start()
    server.wait()
    track.main()
    assert "10 of 15 stages were new" in capsys.readouterr().out and not pending_file().exists()
    found = runs()
    assert set(found) == {*addresses(), "arm@cl", "study"}
    assert all(len(some) == 1 and some[0].info.status == "FINISHED" for some in found.values())
    assert set(finished) < set(identifiers())
    assert found["study"][0].info.artifact_uri.startswith("mlflow-artifacts:")
    assert artifact(found["study"][0], "figures/attention/figure.png") == "PNG"
    (data,) = found["arm@cl"][0].inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("images", "d1g35t")
    assert track.track().startswith("nothing new")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert runs() == {}
