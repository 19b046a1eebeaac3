"""The jobs of a study as they are planned, and what Slurm says of them in words."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from stages.study.errors import StudyError
from stages.study.settings import Slurm
from stages.study.slurm import Job
from stages.tools import jobs
from stages.tools.jobs import queue_lines
from stages.tools.repro import Task
from stages.tools.submit import Batch, plan, sbatch, script_of, send
from stages.tools.trainings import Lacking

TRAININGS = [Lacking("pretrain", "cl", 0), Lacking("pretrain", "cl", 1), Lacking("pretrain", "mim", 0)]
ARMS = [Task("pretrain@cl", ("dvc", "repro", "*@cl")), Task("pretrain@mim", ("dvc", "repro", "*@mim"))]


def test_an_arm_waits_for_its_trainings_alone_and_the_end_for_all_arms():
    prepare, pretrain, cl, mim, gather = plan(before=["check", "prepare"], trainings=TRAININGS, arms=ARMS)
    assert (
        prepare.commands == {"prepare": "srun --nodes=1 --ntasks=1 dvc --wait-for-lock repro check prepare"}
        and not prepare.needs
    )
    assert [*pretrain.commands] == ["pretrain@cl-0", "pretrain@cl-1", "pretrain@mim-0"]
    assert pretrain.needs == ("prepare",)
    assert cl.needs == ("pretrain@cl-0", "pretrain@cl-1") and mim.needs == ("pretrain@mim-0",)
    assert cl.commands == {"evaluate@cl": "srun --nodes=1 --ntasks=1 dvc repro '*@cl'"}
    assert gather.needs == ("evaluate@cl", "evaluate@mim")


def test_nothing_is_waited_for_that_is_there():
    cl, gather = plan(before=[], trainings=[], arms=ARMS[:1])
    assert cl.needs == () and gather.needs == ("evaluate@cl",)
    (gather,) = plan(before=[], trainings=[], arms=[])
    assert gather.kind == "gather" and gather.needs == ()


def test_options_are_those_of_the_kind_of_job_and_dependencies_are_numbers():
    settings = Slurm(pretrain="--partition='big gpu' -c 4", cap=2)
    array = Batch("pretrain", {"pretrain@cl-0": "x", "pretrain@cl-1": "y"}, ("prepare",))
    words = sbatch(array, settings=settings, numbers={"prepare": "7"})
    assert {"--array=0-1%2", "--dependency=afterok:7"} <= set(words)
    assert words[-3:] == ["--partition=big gpu", "-c", "4"]
    after = sbatch(
        Batch("gather", {"gather": "x"}, ("a", "b")), settings=Slurm(), numbers={"a": "8_0", "b": "8_1"}
    )
    assert "--dependency=afterok:8_0:8_1" in after and not any("array" in word for word in after)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Return a function that puts a command on the path, which notes what it is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    (tmp_path / "bin").mkdir()

    def add(name, script):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/asked\n{script}\n')
        (tmp_path / "bin" / name).chmod(0o755)
        return tmp_path / "asked"

    return add


def test_if_slurm_refuses_a_job_those_before_it_are_taken_back(commands):
    commands("sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    calls = commands("scancel", "")
    with pytest.raises(StudyError, match=r"Slurm refuses .*invalid partition.*runtime\.slurm") as refused:
        send(["sbatch", "-p", "gpu"], script="", sent={"prepare": "7", "cl": "8_0", "mim": "8_1"})
    assert "\n" not in str(refused.value)
    assert set(calls.read_text().splitlines()[-1].split()) == {"scancel", "7", "8"}


def test_the_queue_is_told_in_words(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert queue_lines() == []  # nothing was submitted
    jobs.record().parent.mkdir(parents=True)
    does = {"8_0": "pretrain@cl-0", "8_1": "pretrain@cl-1", "9": "evaluate@cl", "7": "prepare"}
    jobs.record().write_text(json.dumps(does))
    queue = [
        Job("7", "7", "COMPLETED", "n1", "None", 0),
        Job("8_0", "10", "RUNNING", "n2", "None", 1),
        Job("8_1", "8", "PENDING", "", "BeginTime", 1),
        Job("9", "9", "PENDING", "", "Dependency", 0),
        Job("3", "3", "FAILED", "n1", "NonZeroExitCode", 0),  # of an earlier submit
    ]
    monkeypatch.setattr(jobs.slurm, "jobs", lambda name: queue)
    assert queue_lines() == [
        "Slurm: running: pretrain@cl-0 (8_0) on n2",
        "Slurm: requeued: pretrain@cl-1 (8_1)",
        "Slurm: queued: evaluate@cl (9)",
    ]


def test_without_slurm_one_line_says_so(commands):
    with pytest.raises(StudyError, match="squeue: command not found"):
        jobs.slurm.jobs()
    commands("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(StudyError, match="squeue: slurm_load_jobs error"):
        jobs.slurm.jobs()


def test_a_folder_may_have_a_space_in_its_name(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/home/u/my study/.venv/bin/python")
    script = script_of(Batch("gather", {"gather": "true"}))
    lines = script.partition("export STUDY_LAUNCH")[0] + 'echo "$PATH"'
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("/home/u/my study/.venv/bin:") and not done.stderr


def test_options_that_no_shell_could_split_are_refused():
    with pytest.raises(ValidationError, match="No closing quotation"):
        Slurm(pretrain="--comment='open")
