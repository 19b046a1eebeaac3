"""What hinders DVC in a project of a user: each a line that names the file and what to do."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import time
from types import SimpleNamespace
from typing import NamedTuple

import networkx
import pytest
from dvc.lock import LockError

from stages.study.errors import StudyError
from stages.study.slurm import Job
from stages.tools import jobs
from stages.tools.project import (
    COMMIT,
    NO_COMMIT,
    _holder,
    dvc_project,
    only_study,
    refuse_broken_lock,
    refuse_missing_git,
    whole_graph,
)
from tests.project import as_dvc_repository, copy_project


def test_a_project_from_a_zip_says_how_to_begin(tmp_path):
    with pytest.raises(StudyError, match="no Git repository here") as error:
        refuse_missing_git(tmp_path)
    assert COMMIT in str(error.value)
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub/project").mkdir(parents=True)
    refuse_missing_git(tmp_path / "sub/project")


@pytest.fixture
def locked(tmp_path):
    """A way to write the notes that DVC keeps on who works where."""

    def write(pid, cmd, mode="write"):
        entry = {"pid": pid, "cmd": cmd}
        path = tmp_path / "rwlock"
        path.write_text(
            json.dumps({"write": {}, "read": {}} | {mode: {"/a": entry if mode == "write" else [entry]}})
        )
        return path

    return write


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_lock_whose_process_is_another_by_now_names_all_three(locked, mode):
    with subprocess.Popen(["sleep", "60"]) as other:
        path = locked(other.pid, "dvc repro pretrain@cl", mode)
        with pytest.raises(StudyError) as error:
            refuse_broken_lock(path)
        other.kill()
    assert str(error.value) == (
        f"{path}: names process {other.pid} (dvc repro pretrain@cl), but {other.pid} "
        "is now sleep; delete this file"
    )


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETED"])
def test_a_lock_may_name_a_process_of_another_machine_only_while_slurm_runs_jobs(
    locked, tmp_path, monkeypatch, state
):
    monkeypatch.chdir(tmp_path)
    jobs.record().parent.mkdir(parents=True)
    jobs.record().write_text('{"8": "evaluate@cl"}')
    queue = [Job("8", "8", state, "n2", "None", 0)]
    monkeypatch.setattr(jobs.slurm, "jobs", lambda name: queue if name == jobs.job_name() else [])
    with subprocess.Popen(["sleep", "60"]) as other:
        path = locked(other.pid, "dvc repro *@cl")
        refused = (
            contextlib.nullcontext() if state == "RUNNING" else pytest.raises(StudyError, match="now sleep")
        )
        with refused:
            refuse_broken_lock(path)
        other.kill()


def test_a_lock_of_a_process_at_work_or_gone_is_left_to_dvc(locked, tmp_path):
    import psutil

    refuse_broken_lock(tmp_path / "none")
    refuse_broken_lock(locked(os.getpid(), " ".join(psutil.Process().cmdline())))
    refuse_broken_lock(locked(2**22 + 1, "dvc repro"))


@pytest.mark.parametrize("text", ["{dam", "[]", '{"write": {"a": 1}}'])
def test_a_damaged_lock_is_named(tmp_path, text):
    (tmp_path / "rwlock").write_text(text)
    with pytest.raises(StudyError, match=r"rwlock: damaged; .* delete this file"):
        refuse_broken_lock(tmp_path / "rwlock")


def hold():
    with only_study():
        time.sleep(60)


def test_a_second_study_is_one_line_until_the_first_one_ends_or_is_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    lock = tmp_path / "scratch/study.lock"
    first = multiprocessing.get_context("fork").Process(target=hold)
    first.start()
    while not lock.exists() or lock.read_text() != f"{first.pid}":
        time.sleep(0.01)
    words = f"is running in this project; wait until process {first.pid} ends"
    with pytest.raises(StudyError, match=words), only_study():
        pass
    first.kill()
    first.join()
    with only_study():
        assert lock.read_text() == f"{os.getpid()}"


def test_the_holder_of_a_lock_is_named():
    text = "'/p/x' is busy, it is being blocked by:\n  (PID 77): dvc repro\n\nIf there are no processes"
    assert _holder(LockError(text)) == "wait until process 77 (dvc repro) ends"
    assert _holder(LockError("Unable to acquire lock")) == "wait until it ends"


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml"])
def test_a_merge_conflict_is_named_by_every_command_that_opens_the_project(tmp_path, monkeypatch, name):
    monkeypatch.chdir(as_dvc_repository(copy_project(tmp_path / "project")))
    with open(name, "a") as file:
        file.write("<<<<<<< HEAD\n=======\n>>>>>>> other\n")
    words = rf"^{name} line \d+: merge conflict; run `git checkout --ours {name}`"
    with pytest.raises(StudyError, match=words), dvc_project() as repo:
        repo.status()


def test_a_repository_without_a_commit_is_told_what_experiments_need(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(as_dvc_repository(copy_project(tmp_path / "project")))
    subprocess.run(["git", "update-ref", "-d", "HEAD"], check=True)
    with dvc_project():
        pass
    assert capfd.readouterr().err.strip() == NO_COMMIT
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    with dvc_project():
        pass
    assert capfd.readouterr().err == ""


def test_an_index_that_another_user_owns_names_the_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(as_dvc_repository(copy_project(tmp_path / "project")))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", "/proc")
    with (
        pytest.raises(StudyError, match=r"^/proc/repo: .*; set DVC_SITE_CACHE_DIR to a folder"),
        dvc_project(),
    ):
        pass


def test_settings_in_the_home_of_another_user_name_the_home(tmp_path, monkeypatch):
    def refuse():
        raise PermissionError(13, "Permission denied", "/home/ann/.config/dvc/config")

    monkeypatch.setattr("stages.tools.project.Repo", refuse)
    words = "^/home/ann/.config/dvc/config: Permission denied; set HOME to a folder that you can write to$"
    with pytest.raises(StudyError, match=words), dvc_project():
        pass


class Stage(NamedTuple):
    path_in_repo: str


STAGE, ADDED = Stage("dvc.yaml"), Stage("images.dvc")


class Written:
    """A project whose dvc.lock DVC extends while it is read."""

    def __init__(self, *times):
        self.times = list(times)

    @property
    def index(self):
        if self.times and self.times.pop(0):
            with open("dvc.lock", "a") as file:
                file.write("x: 1\n")
        return SimpleNamespace(graph=networkx.DiGraph([(STAGE, ADDED)]))


def test_a_lock_that_is_being_written_is_not_taken_for_stages_that_never_ran(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(whole_graph(Written())) == [STAGE]  # no stage has run yet
    for _ in range(2):  # the first time, the file is new
        with pytest.raises(StudyError, match=r"dvc\.lock: DVC is writing it; run the command again"):
            whole_graph(Written(True))
    assert list(whole_graph(Written(False))) == [STAGE]
