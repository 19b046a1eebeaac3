"""Trainings and arms side by side under a real DVC, on stages that only sleep."""

import os
import signal
import subprocess
import sys
import threading

import networkx
import pytest

from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.tools import repro as repro_tool
from stages.tools.repro import Task, arm_tasks, follow, shared, slots_of, stale_stages, start
from stages.tools.trainings import Lacking
from tests.project import ROOT, as_dvc_repository, copy_project, edit, environment, run_in

# A stage or a training notes when it began and ended. Trainings begin their work when two of them are there.
STAGE = """
import signal, sys, time, pathlib
name, out = sys.argv[1:]
log = pathlib.Path("log") / name
log.parent.mkdir(exist_ok=True)
def saved(number, _):
    log.with_suffix(".saved").write_text("")
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, saved)
began = time.time()
print(f"{name} began", flush=True)
if name.startswith("train"):
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
# Stands in for stages/tools/trainings.py: the store lacks three trainings.
TRAININGS = """
import pathlib
from types import SimpleNamespace
def lacking(stage):
    assert pathlib.Path("data").exists()
    store = {path.name for path in pathlib.Path("store").glob("*")}
    return [training(*name) for name in ("a0", "b0", "b1") if "-".join(name) not in store]
def training(arm, seed):
    return SimpleNamespace(arm=arm, seed=seed, command=f"stage.py train-{arm}-{seed} store/{arm}-{seed}")
longest_first = list
"""


def sleeping_study(folder, *, seconds, failing="nobody"):
    project = copy_project(folder)
    (project / "dvc.yaml").write_text(GRAPH)
    (project / "source").write_text("images")
    (project / "stage.py").write_text(STAGE.replace("SLEEP", seconds).replace("FAILING", repr(failing)))
    (project / "stages/tools/trainings.py").write_text(TRAININGS)
    edit(project, {"runtime": {"jobs": 2, "threads": 1, "accelerator": "cpu"}})
    return as_dvc_repository(project)


def ran(project):
    return {path.name for path in (project / "log").iterdir() if not path.suffix}


@pytest.fixture(autouse=True)
def nothing_preloaded(monkeypatch):
    """These stages need no libraries; tests/tools/test_forks.py is about those that do."""
    monkeypatch.setenv("STUDY_PYTHON", "python")


def repro(project):
    return run_in(project, sys.executable, "-m", "stages.tools.repro")


def test_trainings_run_at_the_same_time_and_each_arm_after_its_own(tmp_path):
    project = sleeping_study(tmp_path / "project", seconds="0.2")
    done = repro(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(f"Report: {project}/reports/index.html\n") and not done.stderr
    times = {name: tuple(map(float, (project / "log" / name).read_text().split())) for name in ran(project)}
    assert len(times) == 11
    assert times["train-a-0"][0] < times["train-b-0"][1] and times["train-b-0"][0] < times["train-a-0"][1]
    for name in ("a-0", "b-0", "b-1"):
        assert times["prepare"][1] < times[f"train-{name}"][0]
        assert times[f"train-{name}"][1] < times[f"pretrain-{name[0]}"][0]
    for arm in "ab":
        for probe in ("knn", "linear"):
            assert times[f"pretrain-{arm}"][1] < times[f"probe-{arm}-{probe}"][0]
            assert times[f"probe-{arm}-{probe}"][1] < times["summary"][0]
    again = repro(project)  # which ends with a bare `dvc repro`
    assert "Running stage" not in again.stdout and "up to date" in again.stdout
    assert "skipping" not in done.stdout

    # What changed for one arm runs for one arm.
    for path in (project / "log").iterdir():
        path.unlink()
    (project / "store").rename(project / "elsewhere")
    (project / "dvc.yaml").write_text(GRAPH.replace('models/${item}", deps', 'models/${item} ", deps'))
    assert repro(project).returncode == 0
    assert ran(project) == {"pretrain-a", "pretrain-b", "train-a-0", "train-b-0", "train-b-1"}


def test_a_failure_lets_the_others_end_and_starts_nothing_more(tmp_path):
    project = sleeping_study(tmp_path / "project", seconds="0.5", failing="train-a-0")
    done = repro(project)
    assert done.returncode == 1
    assert "train-a-0 failed" in done.stdout and "Report" not in done.stdout
    assert done.stderr == "The study stopped. Solve the problem reported above, then run it again.\n"
    # The second ran beside the one that failed, the third may have begun before it failed.
    assert {"prepare", "train-b-0"} <= ran(project) <= {"prepare", "train-b-0", "train-b-1"}


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_reaches_all_that_runs_and_waits_for_what_they_save(tmp_path, number, status):
    project = sleeping_study(tmp_path / "project", seconds="0 if name == 'prepare' else 60")
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
            if begun >= {"train-a-0", "train-b-0"}:
                break
        os.kill(process.pid, number)
        assert process.wait(timeout=30) == status
        assert "The study stopped" not in process.stdout.read()
    finally:
        process.kill()
    assert {path.stem for path in (project / "log").glob("*.saved")} == {"train-a-0", "train-b-0"}


def test_the_study_goes_on_if_nobody_reads_its_output(tmp_path):
    project = sleeping_study(tmp_path / "project", seconds="0.3")
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.tools.repro"],
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0 and not process.stderr.read()
    assert len(ran(project)) == 11


def test_an_error_of_this_program_stops_what_runs(tmp_path, monkeypatch):
    def lost(process, screen):
        raise MemoryError

    monkeypatch.setattr(repro_tool, "follow", lost)
    started = []

    def begin(command, slot):
        started.append(start(command, slot=slot))
        return started[-1]

    monkeypatch.setattr(repro_tool, "start", begin)
    tasks = [Task(name, ("sleep", "60")) for name in ("a", "b")]
    with pytest.raises(MemoryError):
        repro_tool.run(tasks, slots=[{}, {}])
    assert [process.wait(timeout=10) for process in started] == [-signal.SIGTERM] * 2


def test_the_interpreter_may_lie_in_a_folder_with_a_space(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/home/u/my study/.venv/bin/python")
    monkeypatch.setattr(repro_tool, "lacking", lambda stage: [Lacking("pretrain", "cl", 0)])
    monkeypatch.setattr(repro_tool, "longest_first", list)
    monkeypatch.delenv("STUDY_LAUNCH", raising=False)
    assert repro_tool.training_tasks({})[0].command[:3] == (sys.executable, "-m", "stages.pretrain")
    launched = repro_tool.training_tasks({"STUDY_LAUNCH": "torchrun --x 2"})
    assert launched[0].command[:3] == ("torchrun", "--x", "2")


def test_the_stages_of_an_arm_are_one_task_after_its_trainings():
    graph = networkx.DiGraph(
        [("prepare", "check"), ("compare", "probe@a-x"), ("compare", "probe@b-x"), ("summary", "compare")]
        + [(f"pretrain@{arm}", "prepare") for arm in "ab"]
        + [(f"probe@{arm}-x", f"pretrain@{arm}") for arm in "ab"]
        + [("analyze@a-b", "pretrain@a"), ("report@b", "analyze@a-b"), ("report@b", "probe@b-x")]
    )
    assert shared(graph) == {"prepare", "check"}
    trainings = [Task("a 0", ()), Task("a 1", ())]
    tasks = {
        task.name: (task.command[5:], set(task.needs))
        for task in arm_tasks(graph, stale=set(graph), trainings=trainings)
    }
    assert tasks == {
        "pretrain@a": (("*@a", "*@a-*"), {"prepare", "a 0", "a 1"}),
        "pretrain@b": (("pretrain@b", "probe@b-x"), {"prepare"}),  # an analysis is named like the arm
        "compare": (("compare",), {"pretrain@a", "pretrain@b"}),
        "report@b": (("report@b",), {"pretrain@a", "pretrain@b"}),
        "summary": (("summary",), {"compare"}),
    }
    assert {task.name for task in arm_tasks(graph, stale={"analyze@a-b"}, trainings=[])} == {"pretrain@a"}


@pytest.mark.parametrize(
    ("cores", "devices", "threads", "jobs", "expected"),
    [
        (2, 1, None, None, (2, "1")),
        (16, 1, None, None, (4, "4")),
        (8, 1, None, 3, (3, "2")),
        (4, 2, None, None, (2, "2")),  # two processes share them in each
        (2, 1, None, 8, (2, "1")),
        (8, 1, 4, None, (2, "4")),
        (2, 1, 2, None, (1, None)),
    ],
)
def test_cores_are_shared_out(monkeypatch, cores, devices, threads, jobs, expected):
    settings = {"jobs": jobs, "devices": devices, "threads": threads}
    runtime = load_params(ROOT / "params.yaml").runtime.model_copy(update=settings)
    monkeypatch.setattr("stages.tools.repro.cpu_count", lambda: cores)
    monkeypatch.delenv("STUDY_LAUNCH", raising=False)
    slots = slots_of(runtime, devices=None, at_most=9)
    assert (len(slots), slots[0].get("OMP_NUM_THREADS")) == expected


def test_gpus_are_shared_out(monkeypatch):
    runtime = load_params(ROOT / "params.yaml").runtime.model_copy(update={"devices": 2})
    monkeypatch.delenv("STUDY_LAUNCH", raising=False)
    slots = slots_of(runtime, devices=["0", "2", "4", "6", "7"], at_most=9)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0,2", "4,6"]
    assert slots_of(runtime.model_copy(update={"devices": 1}), devices=["3"], at_most=9) == [{}]
    monkeypatch.setenv("STUDY_LAUNCH", "torchrun")
    assert slots_of(runtime, devices=["0", "1"], at_most=9) == [{}]


@pytest.mark.parametrize("text", ["stages: [\n", "stages:\n  a: {cmd: x}\n  a: {cmd: y}\n"])
def test_a_project_that_dvc_cannot_read_is_an_error_in_one_line(tmp_path, monkeypatch, text):
    project = as_dvc_repository(copy_project(tmp_path / "study"))
    (project / "dvc.yaml").write_text(text)
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with pytest.raises(StudyError, match=r"DVC cannot read this project: .*dvc\.yaml"):
        stale_stages()


def test_lines_of_dvc_that_help_nobody_are_left_out(capsys):
    lines = [
        "segment mine · skipped",
        "WARNING: 'results/segmentation/mine' is empty.",
        "",
        "git add dvc.lock",
    ]
    assert follow(start(("printf", "%s\\n", *lines), slot={}), threading.Lock()) == 0
    assert capsys.readouterr().out == "segment mine · skipped\n"
