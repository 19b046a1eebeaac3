"""A clock that is set back, and files from the future: names decide the order; no duration is negative."""

import itertools
import os
import time

import pytest

from stages.study.command import run
from stages.study.paths import write_text
from stages.study.store import Training
from stages.study.timings import expected_seconds, read_runs
from stages.training.checkpoints import Checkpoints

DAY = 86_400


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty project, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def test_a_stage_that_ends_before_it_began_took_no_time(monkeypatch, capsys):
    moments = itertools.count(time.time(), -DAY)
    monkeypatch.setattr(time, "time", lambda: next(moments))
    for _ in range(2):
        run("probe@cl-knn", lambda: "all good")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["probe cl knn", "probe cl knn · done in 0 s · all good"] * 2
    runs = read_runs()
    assert [run.outcome for run in runs] == ["done", "done"] and not any(run.alive for run in runs)
    assert expected_seconds("probe@cl-knn", runs) == 0


def test_the_newest_checkpoint_is_that_of_the_last_epoch_whenever_it_was_written():
    checkpoints = Checkpoints("pretrain cl seed 0", Training("a" * 16).directory)
    for epoch in (9, 10):
        checkpoints.save(epoch, {"epoch": epoch})
    for path in checkpoints.directory.glob("epoch-00009.*"):
        os.utime(path, (time.time() + DAY,) * 2)
    assert checkpoints.latest() == {"epoch": 10}
    checkpoints.save(11, {"epoch": 11})
    assert {path.stem for path in checkpoints.directory.glob("epoch-*")} == {"epoch-00010", "epoch-00011"}


def test_a_result_from_the_future_is_found_and_a_part_from_the_future_goes(project):
    training = Training("a" * 16)
    training.keep(lambda folder: (folder / "encoder.safetensors").write_text("w"))
    part = project / f".out.{os.getpid()}.part"
    part.touch()
    for path in [part, *training.directory.rglob("*")]:
        os.utime(path, (time.time() + DAY,) * 2)
    write_text(project / "out", "whole")
    assert training.ended() and not part.exists()
