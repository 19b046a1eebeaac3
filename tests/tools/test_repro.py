"""Several arms side by side under a real DVC, on stages that only sleep."""

import os
import signal
import subprocess
import sys

import networkx
import pytest
from dvc.repo import Repo

from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.tools.repro import changed_tasks, simulated, slots_of, targets_of, tasks_of
from tests.project import ROOT, as_dvc_repository, copy_project, edit, environment, run_in

# A stage notes when it began and ended. The pre-training of an arm begins its work when both are there.
STAGE = """
import signal, sys, time, pathlib, yaml
name, out = sys.argv[1:]
log = pathlib.Path("log") / name
log.parent.mkdir(exist_ok=True)
def saved(*_):
    log.with_suffix(".saved").write_text("")
    sys.exit(130)
signal.signal(signal.SIGINT, saved)
began = time.time()
print(f"{name} began", flush=True)
if name.startswith("pretrain"):
    log.with_suffix(".here").write_text("")
    while len(list(log.parent.glob("*.here"))) < 2 and time.time() < began + 60:
        time.sleep(0.05)
time.sleep(SLEEP)
if name == FAILING:
    sys.exit(f"{name} failed")
pathlib.Path(out).parent.mkdir(exist_ok=True)
pathlib.Path(out).write_text(name)
log.write_text(f"{began} {time.time()}")
"""
GRAPH = """
stages:
  prepare: {cmd: python stage.py prepare data, deps: [source], outs: [data]}
  pretrain:
    foreach: [a, b]
    do: {cmd: "python stage.py pretrain-${item} models/${item}", deps: [data], outs: ["models/${item}"]}
  probe:
    matrix: {arm: [a, b], probe: [knn, linear]}
    cmd: python stage.py probe-${item.arm}-${item.probe} results/${item.arm}-${item.probe}
    deps: ["models/${item.arm}"]
    outs: ["results/${item.arm}-${item.probe}"]
  summary: {cmd: python stage.py summary report, deps: [results], outs: [report]}
"""


@pytest.fixture(autouse=True)
def nothing_preloaded(monkeypatch):
    """These stages need no libraries; tests/tools/test_preloaded.py is about those that do."""
    monkeypatch.setenv("STUDY_PYTHON", "python")


def sleeping_study(folder, *, seconds, failing="nobody"):
    project = copy_project(folder)
    (project / "dvc.yaml").write_text(GRAPH)
    (project / "source").write_text("images")
    (project / "stage.py").write_text(STAGE.replace("SLEEP", str(seconds)).replace("FAILING", repr(failing)))
    edit(project, {"runtime": {"jobs": 2}})
    return as_dvc_repository(project)


def repro(project):
    return run_in(project, sys.executable, "-m", "stages.tools.repro")


def test_arms_run_at_the_same_time_and_each_after_what_it_needs(tmp_path):
    project = sleeping_study(tmp_path / "project", seconds=0.2)
    done = repro(project)
    assert done.returncode == 0, done.stdout + done.stderr
    logs = [path for path in (project / "log").iterdir() if not path.suffix]
    times = {path.name: tuple(map(float, path.read_text().split())) for path in logs}
    assert len(times) == 8
    assert times["pretrain-a"][0] < times["pretrain-b"][1] and times["pretrain-b"][0] < times["pretrain-a"][1]
    for arm in "ab":
        assert times["prepare"][1] < times[f"pretrain-{arm}"][0]
        for probe in ("knn", "linear"):
            assert times[f"pretrain-{arm}"][1] < times[f"probe-{arm}-{probe}"][0]
            assert times[f"probe-{arm}-{probe}"][1] < times["summary"][0]
    again = repro(project)  # which ends with a bare `dvc repro`
    assert "Running stage" not in again.stdout and "up to date" in again.stdout
    assert "skipping" not in done.stdout.split("Running stage 'summary'")[0]

    # What changed for one arm runs for one arm.
    for path in (project / "log").iterdir():
        path.unlink()
    (project / "dvc.yaml").write_text(GRAPH.replace('models/${item}", deps', 'models/${item} ", deps'))
    assert repro(project).returncode == 0
    ran = {path.name for path in (project / "log").iterdir() if not path.suffix}
    assert ran == {"pretrain-a", "pretrain-b"}


def test_a_failure_lets_the_others_end_and_starts_nothing_more(tmp_path):
    project = sleeping_study(tmp_path / "project", seconds=0.5, failing="pretrain-a")
    done = repro(project)
    assert done.returncode not in (0, 130)
    assert "pretrain-a failed" in done.stdout
    assert {path.name for path in (project / "log").iterdir() if not path.suffix} <= {
        "prepare",
        "pretrain-b",
        "probe-b-knn",
        "probe-b-linear",
    }
    assert (project / "models/b").exists()  # it ran beside the one that failed
    assert not (project / "report").exists()


def test_ctrl_c_reaches_every_stage_and_waits_for_what_they_save(tmp_path):
    project = sleeping_study(tmp_path / "project", seconds=4.0)
    (project / "stage.py").write_text(
        (project / "stage.py").read_text().replace("sleep(4.0)", "sleep(0 if name == 'prepare' else 60)")
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.tools.repro"],
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    try:
        begun = set()
        for line in process.stdout:
            begun |= {line.split()[0]} if line.endswith(" began\n") else set()
            if begun >= {"pretrain-a", "pretrain-b"}:
                break
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
    assert {path.stem for path in (project / "log").glob("*.saved")} == {"pretrain-a", "pretrain-b"}


def test_the_stages_of_an_arm_are_one_task_after_its_pre_training():
    graph = networkx.DiGraph(
        [
            ("pretrain@a", "prepare"),
            ("pretrain@b", "prepare"),
            ("probe@a-x", "pretrain@a"),
            ("analyze@a-y", "pretrain@a"),
            ("probe@b-x", "pretrain@b"),
            ("compare", "probe@a-x"),
            ("compare", "probe@b-x"),
            ("summary", "compare"),
        ]
    )
    tasks = tasks_of(graph)
    assert {task.stages for task in tasks} == {
        ("prepare",),
        ("pretrain@a",),
        ("pretrain@b",),
        ("probe@a-x", "analyze@a-y"),
        ("probe@b-x",),
        ("compare",),
        ("summary",),
    }
    assert networkx.is_directed_acyclic_graph(tasks)
    needs = {task.stages: {other.stages for other in tasks.successors(task)} for task in tasks}
    assert needs[("pretrain@a",)] == {("prepare",)} and needs[("probe@b-x",)] == {("pretrain@b",)}


def test_the_stages_of_an_arm_are_asked_for_as_patterns_where_those_are_theirs_alone():
    own = ["features@cl", "finetune@cl", "probe@cl-knn", "analyze@cl-attention"]
    others = ["prepare", "pretrain@cl", "pretrain@cl_2", "probe@cl_2-knn", "report@attention"]
    assert targets_of(own, among=own + others) == ("*@cl", "*@cl-*")
    assert targets_of(own, among=[*own, *others, "report@cl"]) == tuple(own)
    assert targets_of(own[:3], among=own + others) == tuple(own[:3])
    assert targets_of(["prepare"], among=own + others) == ("prepare",)


def test_dvc_has_what_a_stage_needs_before_it(tmp_path):
    with Repo(str(as_dvc_repository(copy_project(tmp_path / "study")))) as repo:
        order = {stage.addressing: place for place, stage in enumerate(repo.index.stages)}
        for stage, needed in repo.index.graph.edges:
            assert order[needed.addressing] < order[stage.addressing]


@pytest.mark.parametrize(
    ("cores", "devices", "jobs", "arms", "expected"),
    [
        (2, 1, None, 4, (2, "1")),
        (16, 1, None, 6, (4, "4")),
        (8, 1, 3, 4, (3, "2")),
        (4, 2, None, 4, (2, "2")),  # two processes share them in each
    ],
)
def test_cores_are_shared_out(monkeypatch, cores, devices, jobs, arms, expected):
    runtime = load_params(ROOT / "params.yaml").runtime.model_copy(
        update={"jobs": jobs, "devices": devices, "accelerator": "cpu"}
    )
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.delenv("STUDY_LAUNCH", raising=False)
    slots = slots_of(runtime, arms=arms)
    assert (len(slots), slots[0]["OMP_NUM_THREADS"]) == expected


@pytest.mark.parametrize("text", ["stages: [\n", "stages:\n  a: {cmd: x}\n  a: {cmd: y}\n"])
def test_a_project_that_dvc_cannot_read_is_an_error_in_one_line(tmp_path, monkeypatch, text):
    project = as_dvc_repository(copy_project(tmp_path / "study"))
    (project / "dvc.yaml").write_text(text)
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with pytest.raises(StudyError, match=r"DVC cannot read this project: .*dvc\.yaml"):
        changed_tasks()


def test_gpus_are_shared_out(monkeypatch):
    runtime = load_params(ROOT / "params.yaml").runtime.model_copy(
        update={"devices": 2, "accelerator": "cuda"}
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,4,6,7")
    monkeypatch.delenv("STUDY_LAUNCH", raising=False)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots_of(runtime, arms=4)] == ["0,2", "4,6"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert slots_of(runtime.model_copy(update={"devices": 1}), arms=4) == [{}]
    monkeypatch.setenv("STUDY_LAUNCH", "torchrun")
    assert slots_of(runtime, arms=4) == [{}]


def test_a_simulation_starts_tasks_in_the_order_of_the_study():
    arms = "abc"
    graph = networkx.DiGraph([(f"pretrain@{arm}", "prepare") for arm in arms])
    graph.add_edges_from((f"probe@{arm}-x", f"pretrain@{arm}") for arm in arms)
    graph.add_edges_from(("summary", f"probe@{arm}-x") for arm in arms)
    tasks = tasks_of(graph)
    seconds = {"prepare": 1.0, "summary": 2.0}
    seconds |= {f"pretrain@{arm}": 10.0 for arm in arms} | {f"probe@{arm}-x": 4.0 for arm in arms}
    # With two places: a and b to 11, c to 21 beside a's probe and b's to 19, c's probe to 25, summary to 27.
    assert simulated(tasks, seconds=seconds, at_once=2) == 27.0
    assert simulated(tasks, seconds=seconds, at_once=1) == sum(seconds.values()) == 45.0
    assert simulated(tasks, seconds=seconds, at_once=9) == 17.0
    # Pre-training comes first, unless two probes are at work already and hold both places.
    left = seconds | {"prepare": 0.0, "pretrain@b": 0.0, "pretrain@c": 0.0}
    assert simulated(tasks, seconds=left, at_once=2) == 16.0
    assert simulated(tasks, seconds=left, at_once=2, begun={"probe@b-x", "probe@c-x"}) == 20.0
    assert simulated(networkx.DiGraph(), seconds={}, at_once=2) == 0.0
