"""A dvc.lock of which a kill, a full disk or a power loss left a part: what is whole stays, nothing else."""

import os
import subprocess

import pytest
import yaml
from dvc.repo import Repo

from stages.tools.mending import mend, mend_lock, other_commands

STAGE = """  {name}:
    cmd: echo {name}
    deps:
    - path: in
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 15
    outs:
    - path: {name}.txt
      hash: md5
      md5: fedcba9876543210fedcba9876543210
      size: 4
"""
NAMES = ("check", "pretrain@cl", "probe@cl-knn")
WHOLE = "schema: '2.0'\nstages:\n" + "".join(STAGE.format(name=name) for name in NAMES)
ENTRIES = yaml.safe_load(WHOLE)["stages"]


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """The path of dvc.lock in an empty project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path / "dvc.lock"


def test_wherever_writing_stopped_the_whole_entries_stay(lock):
    for end in [14, *range(0, 40, 3), *range(40, len(WHOLE), 17)]:
        lock.write_text(WHOLE[:end])
        words = mend_lock(lock)
        if words is None:  # valid, with less in the last entry: DVC finds its stage changed
            *earlier, _ = yaml.safe_load(WHOLE[:end]).get("stages", {"": {}}).items()
            assert lock.read_text() == WHOLE[:end] and all(ENTRIES[name] == entry for name, entry in earlier)
            continue
        assert "\n" not in words and (lock.parent / "scratch/dvc.lock.damaged").read_text() == WHOLE[:end]
        if lock.exists():
            entries = yaml.safe_load(lock.read_text())["stages"]
            begun = [name for name in NAMES if WHOLE.index(f"  {name}:") + len(f"  {name}:") <= end]
            assert entries and entries == {name: ENTRIES[name] for name in begun[:-1]}
            assert f"; {len(entries)} stage" in words
        else:
            assert (
                end <= WHOLE.index("  pretrain@cl:") + len("  pretrain@cl:") and "; 0 stages kept; " in words
            )


@pytest.mark.parametrize("text", ["", "\0" * 100, "schema: '2.0'\nsta"])
def test_of_nothing_or_zeros_nothing_stays(lock, text):
    lock.write_text(text)
    assert "; 0 stages kept; " in mend_lock(lock)
    assert not lock.exists()


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        WHOLE.replace("    cmd: echo check", "<<<<<<< HEAD\n    cmd: echo check"),
        WHOLE.replace("    cmd: echo probe", "<<<<<<< HEAD\n    cmd: echo probe"),
        "a: b\n",
        "- words",
    ],
    ids=["whole", "a conflict", "a conflict in the last entry", "another file", "a list"],
)
def test_a_whole_one_and_what_people_wrote_stay_as_they_are(lock, text):
    lock.write_text(text)
    assert mend_lock(lock) is None
    assert lock.read_text() == text
    lock.unlink()
    assert mend_lock(lock) is None and not lock.exists()


def test_a_record_of_locks_is_deleted_if_it_is_no_json_and_nobody_uses_it(lock, capsys):
    record = lock.parent / ".dvc/tmp/rwlock"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    mend()
    assert record.read_text() == "{}" and not capsys.readouterr().out
    record.write_text("")
    # `read` starts no process, which would have the same command line for a moment.
    with subprocess.Popen(["read line; true dvc"], shell=True, stdin=subprocess.PIPE) as other:
        assert other_commands() == [other.pid]
        mend()
        assert record.exists() and not capsys.readouterr().out
        other.kill()
    mend()
    assert not record.exists()
    assert capsys.readouterr().out == ".dvc/tmp/rwlock: damaged by an interrupted DVC command; deleted\n"


def test_entries_that_were_lost_cost_no_run(lock, capfd):
    subprocess.run(["git", "init", "-q"], check=True)
    stages = {
        name: {"cmd": f"echo {name} >> runs && echo {name} > {name}", "deps": ["in"], "outs": [name]}
        for name in ("a", "b", "c")
    }
    (lock.parent / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (lock.parent / "in").write_text("in")
    Repo.init().close()
    with Repo() as repo:
        repo.reproduce()
    before = lock.read_text()
    os.truncate(lock, before.index("  c:") - 20)
    with Repo() as repo, repo.lock:
        mend()
    assert "; 1 stage kept; " in capfd.readouterr().out
    with Repo() as repo:
        repo.reproduce()
    assert (lock.parent / "runs").read_text() == "a\nb\nc\n"
    assert yaml.safe_load(lock.read_text()) == yaml.safe_load(before)
