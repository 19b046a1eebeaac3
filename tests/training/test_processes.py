"""However many processes share a batch, and in however many parts, the training is the same."""

import shutil
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
from safetensors.numpy import load_file

from tests.forked import succeed
from tests.project import copy_project, edit, environment, run_in

# Sums in another order: float32 rounds each to 6e-8, and nine steps of Adam let that grow.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-4}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("processes"), changes={"pretrain": {"epochs": 3}})
    succeed(project, "prepare")
    return project


def results(project, arm):
    folder = project / "models" / arm / "0"
    return pd.read_csv(folder / "history.csv"), load_file(folder / "encoder.safetensors")


@pytest.fixture(scope="module")
def alone(prepared):
    succeed(prepared, "pretrain", "--arm", "hybrid")
    return results(prepared, "hybrid")


def assert_same(ours, theirs):
    pd.testing.assert_frame_equal(ours[0], theirs[0], rtol=2e-3)
    for name, value in theirs[1].items():
        mine = ours[1][name]
        if name.endswith("qkv.bias"):
            # Softmax takes no notice of a bias of the keys: its gradient is rounding, which Adam enlarges.
            value, mine = (
                np.delete(each, np.s_[len(each) // 3 : 2 * len(each) // 3]) for each in (value, mine)
            )
        np.testing.assert_allclose(mine, value, **TOLERANCE, err_msg=name)


def test_two_processes_train_as_one(prepared, alone, tmp_path):
    project = tmp_path / "two"
    shutil.copytree(prepared, project, ignore=shutil.ignore_patterns("models", "scratch"))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run_in(project, sys.executable, *torchrun, "-m", "stages.pretrain", "--arm", "hybrid")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("epoch 3/3") == 1  # one of them speaks
    assert_same(results(project, "hybrid"), alone)
    for share in ("0.1", "0.33"):
        ours, theirs = (
            load_file(folder / f"models/hybrid/0/snapshots/{share}/encoder.safetensors")
            for folder in (project, prepared)
        )
        assert_same((alone[0], ours), (alone[0], theirs))
    gradients = [pd.read_csv(folder / "models/hybrid/0/gradients.csv") for folder in (project, prepared)]
    pd.testing.assert_frame_equal(*gradients, rtol=5e-3, atol=2e-3)


def test_one_process_goes_on_where_two_were_killed(prepared, alone, tmp_path):
    project = tmp_path / "two"
    shutil.copytree(prepared, project, ignore=shutil.ignore_patterns("models", "scratch"))
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words += ["-m", "stages.pretrain", "--arm", "hybrid", "--seed", "0"]
    process = psutil.Popen(words, cwd=project, env=environment())
    deadline = time.monotonic() + 120
    while not list(project.glob("scratch/trainings/*/epoch-00002.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    for each in [*process.children(recursive=True), process]:
        each.kill()
    process.wait()
    assert "resumed at epoch" in succeed(project, "pretrain", "--arm", "hybrid").stdout
    assert_same(results(project, "hybrid"), alone)


@pytest.mark.parametrize("arm", ["hybrid", "mim"])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(prepared, alone, tmp_path, arm):
    whole = (
        alone if arm == "hybrid" else (succeed(prepared, "pretrain", "--arm", arm), results(prepared, arm))[1]
    )
    project = tmp_path / "parts"
    shutil.copytree(prepared, project, ignore=shutil.ignore_patterns("models", "scratch"))
    edit(project, {"runtime": {"micro_batch": 3}})
    succeed(project, "pretrain", "--arm", arm)
    assert_same(results(project, arm), whole)
