"""A tiny study as jobs of a real Slurm: it reaches a time limit, loses a node, and fails in one arm."""

import contextlib
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
import yaml

from stages.study import slurm as queue
from stages.study.errors import StudyError
from stages.study.paths import read_json
from stages.study.timings import read_runs
from stages.tools.jobs import record
from stages.tools.status import status
from stages.tools.submit import ENDED, submit
from tests.forked_python import forked_python
from tests.project import as_dvc_repository, copy_project, edit
from tests.tools.slurm_cluster import NotStarted, cluster, wait_for

# DVC is slow with all of the graph. Every kind of job has its stages; `compare` combines the arms.
STAGES = ("check", "prepare", "pretrain", "features", "probe", "compare")
UNUSED = ("finetune", "segment")  # without arms: status asks what they lack
LEFT_OUT = ("random", "cl", "hybrid", "layerwise", "few_shot", "attentive", "fourier", "similarity",
            "singular_values", "attention_maps", "token_embedding")  # fmt: skip
EPOCHS = 150
# Stages are forks, since Python takes seconds to start. Slurm's signals reach only a job's own processes.
PYTHON = """#!/bin/sh
case "$*" in "-m stages.pretrain --arm mim --seed"*) exec "{python}" "$@" ;; esac
exec "{forks}/python" "$@"
"""


@pytest.fixture(scope="module")
def slurm():
    """A Slurm of two nodes, in a short path, because names of sockets are."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp")))
        try:
            yield stack.enter_context(cluster(folder))
        except NotStarted as reason:
            pytest.skip(f"{reason}")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A study of two arms, of which one fails: it asks for more images in a batch than there are."""
    arms = {"mim": {"epochs": EPOCHS, "batch_size": 96}, "broken": {"objective": "masked", "batch_size": 500}}
    changes = {"arms": arms, "runtime": {"slurm": {"pretrain": "--ntasks=1 --time=30", "cap": 1}}}
    project = copy_project(tmp_path_factory.mktemp("study"), changes=changes, leave_out=LEFT_OUT)
    graph = yaml.safe_load((project / "dvc.yaml").read_text())
    graph["stages"] = {name: graph["stages"][name] for name in (*STAGES, *UNUSED)}
    graph["stages"]["probe"]["matrix"]["probe"] = ["knn"]
    for name in UNUSED:
        graph["stages"][name]["matrix"] = {"arm": []}
    (project / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    return as_dvc_repository(project)


@contextlib.contextmanager
def login_node(slurm, project):
    """Work in the project, as on a login node of the cluster."""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        python = slurm.folder / "bin/python"
        python.parent.mkdir()
        python.write_text(PYTHON.format(python=sys.executable, forks=stack.enter_context(forked_python())))
        python.chmod(0o755)
        for name in os.environ.keys() - slurm.environment.keys():
            patch.delenv(name)
        for name, value in slurm.environment.items():
            patch.setenv(name, value)
        patch.setenv("STUDY_PYTHON", f"{python}")
        patch.setattr(sys, "executable", f"{python}")  # the jobs take its folder
        stack.enter_context(contextlib.chdir(project))
        yield


def printed(work, **options):
    """Return what a command prints, like a new process that remembers no queue."""
    queue.running.cache_clear()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        print(work(**options))
    return out.getvalue()


class Watch:
    """What happens to the jobs and the training of the study."""

    def __init__(self, slurm, project):
        self.slurm, self.project = slurm, project
        self.jobs = {name: number for number, name in read_json(record()).items()}

    def state(self, name):
        return next(job for job in queue.jobs() if job.name == self.jobs[name])

    def states(self):
        return {name: self.state(name).state for name in self.jobs}

    def ended(self):
        return {*self.states().values()} <= {*ENDED}

    def saved(self):
        files = self.project.glob("scratch/trainings/*/epoch-*.pt")
        return max((int(path.stem.partition("-")[2]) for path in files), default=0)

    def noted(self):
        """Return whether a training has noted an epoch, which it does shortly after it has saved it."""
        return any(run.epoch for run in read_runs())

    def log(self):
        return (self.project / "scratch/slurm/pretrain-2_0.log").read_text()

    def waits(self, name):
        """Wait until a job is back in the queue, and let it start at once: Slurm waits two minutes."""
        wait_for(lambda: self.state(name).state == "PENDING")
        words = (f"jobid={self.jobs[name]}", "StartTime=now", "TimeLimit=30")
        wait_for(lambda: self.slurm.agrees("scontrol", "update", *words))


@pytest.fixture(scope="module")
def study(slurm, project):
    """Run the study, and keep what is seen on the way."""
    with login_node(slurm, project):
        return run(slurm, project)


def run(slurm, project):
    """Submit; stop one training at its time limit, then let it lose its node; mend the arm that failed."""
    dry = printed(submit, dry=True)
    first = printed(submit)
    with pytest.raises(StudyError) as second:
        submit()
    watch = Watch(slurm, project)
    wait_for(watch.noted)
    with suspended(project):
        waiting = watch.state("pretrain@broken-0")
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 125))
        assert slurm.agrees("scontrol", "update", f"jobid={watch.jobs['pretrain@mim-0']}", f"EndTime={end}")
        running = printed(status)
        wait_for(lambda: "shortly before the time limit" in watch.log())
    wait_for(lambda: watch.state("pretrain@mim-0").state == "PENDING")
    before_limit, requeued = watch.saved(), printed(status)
    watch.waits("pretrain@mim-0")
    wait_for(lambda: watch.saved() > before_limit)
    with suspended(project):
        node = watch.state("pretrain@mim-0").nodes
        before_crash = watch.saved()
        slurm.crash(node)
    watch.waits("pretrain@mim-0")
    wait_for(watch.ended)
    ended = watch.states()
    other, failed = watch.state("pretrain@mim-0").nodes, printed(status)
    edit(project, {"arms": {"broken": {"batch_size": 32}}})
    third = printed(submit)
    rest = Watch(slurm, project)
    wait_for(rest.ended)
    mended, last = rest.states(), printed(submit)
    return SimpleNamespace(**{name: value for name, value in locals().items() if name != "slurm"})


@contextlib.contextmanager
def suspended(project):
    """Keep the training where it is while others look, which Slurm need not know."""
    process = training(project)
    process.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


def training(project):
    """Return the process that trains."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            trains = process.name().startswith("python") and {"stages.pretrain", "mim"} <= {
                *process.cmdline()
            }
            if trains and process.cwd() == f"{project}":
                return process
    raise AssertionError("no process trains")


def resumed(study):
    """Return the epochs at which the training began again."""
    return [int(epoch) for epoch in re.findall(rf"resumed at epoch (\d+)/{EPOCHS}", study.watch.log())]


def test_a_dry_run_prints_the_jobs_and_submits_none(study):
    assert study.dry.count("sbatch --parsable") == 5
    assert "--array=0-1%1 --dependency=afterok:PREPARE" in study.dry
    assert (
        "pretrain@mim-0: srun --kill-on-bad-exit=1 python -m stages.pretrain --arm mim --seed 0" in study.dry
    )
    assert set(study.watch.jobs.values()) == {
        "1",
        "2_0",
        "2_1",
        "3",
        "4",
        "5",
    }  # the first jobs of this Slurm


def test_a_second_submit_is_refused_in_one_line(study):
    assert study.first == "6 jobs; `make status` shows them, scratch/slurm/*.log have their output\n"
    message = f"{study.second.value}"
    assert re.fullmatch(
        r"the queue has 6 jobs of this study, first 1; .* `scancel --name study-\w+`", message
    )


def test_no_more_trainings_run_than_the_cap(study):
    assert (study.waiting.state, study.waiting.reason) == ("PENDING", "JobArrayTaskLimit")


def test_status_shows_the_queue(study):
    assert re.search(r"^Slurm: running: pretrain@mim-0 \(2_0\) on n[12]$", study.running, re.M)
    assert re.search(
        rf"^pretrain@mim-0: running for .* saved up to epoch \d+ of {EPOCHS}", study.running, re.M
    )
    queued = r"pretrain@broken-0 \(2_1\), evaluate@mim \(3\), evaluate@broken \(4\), gather \(5\)"
    assert re.search(rf"^Slurm: queued: {queued}$", study.running, re.M)
    assert "Slurm: requeued: pretrain@mim-0 (2_0)\n" in study.requeued


def test_a_job_at_its_time_limit_goes_on_from_its_last_epoch(study):
    [epoch] = re.findall(rf"stopped by SIGTERM; saved up to epoch (\d+) of {EPOCHS}", study.watch.log())
    # SIGTERM may arrive when an epoch is saved but not noted yet.
    assert int(epoch) in (study.before_limit - 1, study.before_limit)
    assert resumed(study)[0] == study.before_limit


def test_a_job_whose_node_crashes_goes_on_on_the_other(study):
    assert resumed(study)[1] == study.before_crash > study.before_limit
    assert {study.node, study.other} == {"n1", "n2"}
    assert f"epoch {EPOCHS}/{EPOCHS}" in study.watch.log()


def test_a_failed_arm_stops_what_needs_it_and_nothing_else(study):
    assert study.ended == {
        "prepare": "COMPLETED",
        "pretrain@mim-0": "COMPLETED",
        "pretrain@broken-0": "FAILED",
        "evaluate@mim": "COMPLETED",
        "evaluate@broken": "CANCELLED",
        "gather": "CANCELLED",
    }
    assert "Slurm: failed: pretrain@broken-0 (2_1)\n" in study.failed
    assert "Slurm: cancelled: evaluate@broken (4), gather (5)\n" in study.failed
    assert "pretrain@broken-0: failed, pretrain broken seed 0: batch_size 500 exceeds" in study.failed


def test_the_next_submit_sends_the_remaining_work_and_ends_the_study(study):
    assert set(study.rest.jobs) == {"pretrain@broken-0", "evaluate@broken", "gather"}
    assert {*study.mended.values()} == {"COMPLETED"}
    table = pd.read_csv(study.project / "results/comparison.csv")
    assert {*table["arm"]} == {"mim", "broken"}
    assert study.last == "every stage is done; nothing to submit\n"
