"""The first and last line of a stage, and what is kept of when it ran."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from stages.study.command import first_process, run
from stages.study.errors import StudyError
from stages.study.timings import Run, expected_seconds, kind, note, read_runs, spoken, timings_file


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_stage_says_what_begins_and_what_came_of_it(capsys):
    for expected in ("", " · about "):
        run("probe@cl-knn", lambda: "shape 50 %", about=lambda: ["cpu"], writes=timings_file().parent)
        begun, ended = capsys.readouterr().out.splitlines()
        assert begun.startswith(f"probe cl knn · cpu{expected}") and (" · about " in begun) == bool(expected)
        # The time counts from the start of the process, so whole minutes, written without seconds, occur.
        assert re.fullmatch(r"probe cl knn · done in [0-9 hmins]+ · shape 50 % · scratch", ended)
    assert [(past.stage, past.outcome, past.message) for past in read_runs()] == [
        ("probe@cl-knn", "done", "shape 50 %")
    ] * 2


def test_a_failure_is_kept_with_its_words_and_that_of_describing_it_is_one_line_too(capsys):
    def fail():
        raise StudyError("no such thing\nsecond line")

    for work, about in ((fail, tuple), (lambda: "", fail)):
        with pytest.raises(SystemExit) as stopped:
            run("decide", work, about=about)
        assert stopped.value.code == 2 and capsys.readouterr().err == "decide: no such thing\\nsecond line\n"
    (past,) = read_runs()  # the other did not begin
    assert (past.outcome, past.message) == ("failed", "no such thing") and past.ended


def test_of_several_processes_the_first_alone_speaks(monkeypatch, capsys):
    for name in ("SLURM_PROCID", "LOCAL_RANK", "RANK"):
        monkeypatch.setenv(name, "1")
        assert not first_process()
    run("pretrain@cl", lambda: "")
    assert capsys.readouterr().out == "" and not timings_file().exists()
    monkeypatch.setenv("RANK", "0")
    assert first_process()


def test_ctrl_c_in_any_stage_is_one_line_and_130():
    script = """
import os, signal
from stages.study.command import run
run("decide", lambda: os.kill(os.getpid(), signal.SIGINT) or "done")
"""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": root}
    )
    assert done.returncode == 128 + signal.SIGINT and done.stdout == "decide\n"
    assert done.stderr == "decide: interrupted; the same command continues from the last checkpoint\n"
    (past,) = read_runs()
    assert past.outcome == "interrupted" and not past.alive


def append_many(number):
    for count in range(200):
        note("began", stage=f"stage@{number}", filling="x" * 300, count=count)


def test_lines_of_processes_that_write_at_once_stay_whole(folder):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    events = [json.loads(line) for line in timings_file().read_text().splitlines()]
    assert sorted((event["stage"], event["count"]) for event in events) == [
        (f"stage@{number}", count) for number in range(4) for count in range(200)
    ]


def test_torn_lines_and_a_missing_file_are_nothing(folder):
    assert read_runs() == []
    note("done", seconds=1.0, message="of a process that never began")
    note("began", stage="prepare")
    with timings_file().open("ab") as file:
        file.write(b'{"event": "done", "seco\xff\n[1]\n{"event": "began", "stage": "half"\n')
    (past,) = read_runs()
    assert past.stage == "prepare" and past.alive
    note("saved", epoch=2, epochs=5)
    (past,) = read_runs()
    assert past.saved == "saved up to epoch 2 of 5"
    assert 0 <= past.seconds < 60  # up to the checkpoint


def test_a_process_that_is_gone_or_is_another_one_is_not_alive():
    now = time.time()
    assert Run("x", process=os.getpid(), began=now).alive
    assert not Run("x", process=os.getpid(), began=now, ended=now).alive
    assert not Run("x", process=os.getpid(), began=now - 1e6).alive  # this process is younger
    with subprocess.Popen(["true"]) as gone:
        pass
    assert not Run("x", process=gone.pid, began=now).alive


def test_a_killed_process_of_a_running_job_is_not_alive(monkeypatch):
    """A shell of salloc goes on after the system has killed a stage in it."""
    monkeypatch.setattr("stages.study.slurm.running", lambda: {"7"})
    now = time.time()
    with subprocess.Popen(["true"]) as gone:
        pass
    assert not Run("x", process=gone.pid, began=now, job="7").alive
    assert Run("x", process=os.getpid(), began=now, job="7").alive
    assert not Run("x", process=os.getpid(), began=now, job="8").alive
    assert Run("x", process=gone.pid, began=now, job="7", host="another").alive


def of(stage, *seconds, outcome="done"):
    return [Run(stage, process=1, began=0.0, ended=1.0, outcome=outcome, seconds=value) for value in seconds]


def test_the_next_run_should_take_as_long_as_the_longest_of_the_last_five():
    runs = of("pretrain@cl", 500.0, 90.0, 98.0, 3.0, 97.0, 95.0) + of("pretrain@cl", 900.0, outcome="failed")
    assert expected_seconds("pretrain@cl", runs) == 98.0
    runs += of("pretrain@mim", 40.0) + of("pretrain@hybrid", 60.0) + of("probe@cl-knn", 7.0)
    runs += of("pretrain@cl-0", 9.0) + of("pretrain@cl-1", 8.0) + of("finetune@cl-0", 6.0)
    assert expected_seconds("pretrain@cl-7", runs) == 9.0 and expected_seconds("finetune@new-7", runs) == 6.0
    assert expected_seconds("pretrain@new-0", runs) is None
    assert expected_seconds("pretrain@new", runs) is None  # that depends on its objective
    assert expected_seconds("probe@new-knn", runs) == 7.0
    assert expected_seconds("probe@new-linear", runs) is None and expected_seconds("track", runs) is None


def test_durations_and_kinds_in_words():
    words = {0.2: "0 s", 98.4: "98 s", 100.2: "1 min 40 s", 120: "2 min", 3569: "59 min 29 s"}
    words |= {3580: "1 h", 7500: "2 h 5 min", 90_000: "25 h"}
    assert {seconds: spoken(seconds) for seconds in words} == words
    assert [kind(stage) for stage in ("track", "pretrain@cl", "probe@cl-knn")] == [
        "track",
        "pretrain",
        "probe-knn",
    ]
