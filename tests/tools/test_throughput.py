"""Throughput of the trainings that ran, from their saved epochs."""

import json
from typing import NamedTuple

import pytest

from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.timings import timings_file
from stages.tools import throughput
from tests.project import copy_project


class Cost(NamedTuple):
    flop: float  # per image


def events(*lines):
    """Write scratch/timings.jsonl. lines: process, event, time, and what is about it"""
    timings_file().parent.mkdir(exist_ok=True)
    rows = [{"process": process, "event": event, "time": at} | about for process, event, at, about in lines]
    timings_file().write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"half": ')


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(copy_project(tmp_path))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(throughput, "peak_flops", lambda device, precision: 1e9)
    monkeypatch.setattr(throughput, "pretraining_step", lambda study, arm, rows, at_once: Cost(flop=2e6))
    return load_params()


def saved(process, *times):
    return [(process, "saved", at, {"epoch": number}) for number, at in enumerate(times, start=1)]


def test_an_arm_is_as_fast_as_from_its_first_saved_epoch_to_its_last(study):
    events(
        (1, "began", 0.0, {"stage": "pretrain@mim-0"}),
        (2, "began", 0.0, {"stage": "pretrain@mim-1"}),
        (3, "began", 0.0, {"stage": "finetune@mim-1"}),
        *saved(1, 10.0, 11.0, 12.0),
        *saved(2, 10.0, 14.0),
        *saved(3, 1.0, 50.0),
        (1, "began", 60.0, {"stage": "pretrain@gone-0"}),
        *saved(1, 61.0, 62.0),
    )
    # 100 images are 3 batches of 32 per epoch: 96 and 24 images/s.
    header, _, mim, together = throughput.table(study, images=100).splitlines()
    assert header == "| arm | runs | images/s | GFLOP/image | of peak |"
    assert mim == "| mim | 2 | 60 | 0.002 | 12.0% |"
    assert together == "| together | 2 | 72 | | 14.4% |"


def test_the_peak_is_that_of_all_devices_and_the_flop_those_of_a_micro_batch(study, monkeypatch):
    sizes = []

    def note(study, arm, *, rows, at_once):
        sizes.append((rows, at_once))
        return Cost(flop=2e6)

    monkeypatch.setattr(throughput, "pretraining_step", note)
    events((1, "began", 0.0, {"stage": "pretrain@mim-0"}), *saved(1, 10.0, 11.0, 12.0))
    runtime = study.runtime.model_copy(update={"devices": 2, "micro_batch": 4})
    table = throughput.table(study.model_copy(update={"runtime": runtime}), images=100)
    assert "| mim | 1 | 96 | 0.002 | 9.6% |" in table
    assert sizes == [(study.pretrain.batch_size // 2, 4)]


def test_a_resumed_training_counts_from_where_it_resumed(study):
    events(
        (1, "began", 0.0, {"stage": "pretrain@cl"}),
        *saved(1, 10.0, 20.0),
        (2, "began", 1000.0, {"stage": "pretrain@cl"}),
        (2, "saved", 1001.0, {"epoch": 2}),
        (2, "saved", 1011.0, {"epoch": 3}),
    )
    assert "| cl | 2 | 10 |" in throughput.table(study, images=96)


def test_seeds_that_one_process_trains_are_several_trainings(study):
    """As `dvc repro` does, or a machine with one GPU."""
    events(
        (1, "began", 0.0, {"stage": "pretrain@cl"}), *saved(1, 10.0, 20.0, 30.0), *saved(1, 50.0, 60.0, 70.0)
    )
    _, _, cl, together = throughput.table(study, images=96).splitlines()
    assert cl.startswith("| cl | 2 | 10 |") and together.startswith("| together | 2 | 10 |")  # 96 in 10 s


def test_the_time_between_runs_does_not_count(study):
    assert throughput.covered([(0.0, 2.0), (1.0, 3.0), (1.5, 2.5), (10.0, 11.0)]) == 4.0


def test_without_trainings_there_is_one_line(study):
    with pytest.raises(StudyError, match="no pre-training with two saved epochs"):
        throughput.table(study, images=96)
    events((1, "began", 0.0, {"stage": "pretrain@mim-0"}), *saved(1, 10.0))
    with pytest.raises(StudyError, match="no pre-training with two saved epochs"):
        throughput.table(study, images=96)
