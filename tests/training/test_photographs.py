"""A training on photographs is the same if killed inside an epoch, with threads, in two processes."""

import shutil
import signal
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from stages.study.fingerprint import definitions
from tests.data.photograph_store import needs_decoder
from tests.data.pictures import encoded, photo, write_folder
from tests.forked import forked, succeed
from tests.project import copy_project, edit, run_in
from tests.training.interruptions import signal_at_step

pytestmark = needs_decoder
ARMS = {
    "cl": {"objective": "contrastive"},
    "balanced": {"objective": "hybrid", "gradient_ratio": 1.0},
    "supervised": {"objective": "supervised"},
}


def jpegs(count):
    """Photographs of two classes and several sizes."""
    files = {}
    for number in range(count):
        size = [(40, 30), (30, 40), (33, 33)][number % 3]
        picture = photo(number, (4, 4)).resize(size, Image.Resampling.BICUBIC)
        files[f"{'ab'[number % 2]}/{number:03d}.jpg"] = encoded(picture, format="JPEG", quality=90)
    return files


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    write_folder(folder / "images", jpegs(44))
    changes = {
        "data": {"source": f"{folder / 'images'}", "store": "photographs", "max_train_images": 33},
        # 16 steps an epoch, in two parts; one image is left over.
        "pretrain": {"epochs": 2, "batch_size": 2, "snapshots": [0.2, 0.5]},
        "arms": ARMS,
    }
    project = copy_project(folder / "project", changes=changes)
    succeed(project, "prepare")
    return project


def copied(prepared, folder, **runtime):
    project = folder / "project"
    shutil.copytree(prepared, project, ignore=shutil.ignore_patterns("models", "scratch"))
    edit(project, {"runtime": runtime})
    return project


def results(project, arm):
    folder = project / "models" / arm / "0"
    return {f"{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(prepared):
    """The results of each arm, never stopped."""
    for arm in ARMS:
        succeed(prepared, "pretrain", "--arm", arm)
    return {arm: results(prepared, arm) for arm in ARMS}


@pytest.mark.parametrize("arm", ["cl", "balanced"])
def test_killed_inside_an_epoch_it_ends_in_the_same_bytes(prepared, whole, arm, tmp_path):
    project = copied(prepared, tmp_path)
    kill = partial(signal_at_step, 12, number=signal.SIGKILL)  # in the second part of the first epoch
    assert forked(project, "pretrain", "--arm", arm, first=kill).returncode == -signal.SIGKILL
    output = succeed(project, "pretrain", "--arm", arm).stdout
    assert f"pretrain {arm} seed 0: resumed at epoch 0.5/2" in output and "epoch 1.5/2" in output
    assert results(project, arm) == whole[arm]


def test_history_and_gradients_have_whole_epochs(prepared, whole):
    for arm in ARMS:
        history = pd.read_csv(prepared / "models" / arm / "0/history.csv")
        assert history["epoch"].tolist() == [1, 2] and history["loss"].notna().all()
    gradients = pd.read_csv(prepared / "models/balanced/0/gradients.csv")
    assert gradients.groupby(["epoch", "block"]).size().tolist() == [2, 2, 2, 2]  # one row per part
    assert gradients["cl_weight"].nunique() > 2  # set again after each part


def test_threads_that_read_ahead_change_nothing(prepared, whole, tmp_path):
    project = copied(prepared, tmp_path, workers=2)
    succeed(project, "pretrain", "--arm", "cl")
    assert results(project, "cl")["history.csv"] == whole["cl"]["history.csv"]
    assert results(project, "cl")["encoder.safetensors"] == whole["cl"]["encoder.safetensors"]


def test_two_processes_see_the_views_of_one(prepared, whole, tmp_path):
    project = copied(prepared, tmp_path)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run_in(project, sys.executable, *torchrun, "-m", "stages.pretrain", "--arm", "supervised")
    assert done.returncode == 0, done.stdout + done.stderr
    ours, theirs = (
        load_file(folder / "models/supervised/0/encoder.safetensors") for folder in (project, prepared)
    )
    for name, value in theirs.items():
        if not name.endswith("qkv.bias"):  # the bias of keys has no gradient but rounding
            np.testing.assert_allclose(ours[name], value, rtol=2e-4, atol=2e-4, err_msg=name)


def test_squares_of_the_same_images_are_another_training(prepared, whole, tmp_path):
    project = copied(prepared, tmp_path)
    edit(project, {"data": {"store": "squares"}})
    succeed(project, "prepare")
    folders = [each / "data/prepared/train" for each in (project, prepared)]
    assert not list(folders[0].glob("photographs*"))
    assert folders[0].joinpath("images.npy").read_bytes() == folders[1].joinpath("images.npy").read_bytes()
    succeed(project, "pretrain", "--arm", "supervised")
    assert results(project, "supervised")["history.csv"] != whole["supervised"]["history.csv"]


def test_trainings_on_squares_do_not_depend_on_the_code_of_photographs():
    from stages.objectives.reading import ENTRIES, ENTRIES_OF_PHOTOGRAPHS

    training = "stages.objectives.pretraining.train_encoder", "stages.objectives.hybrid.OBJECTIVE"
    squares, photographs = definitions(*training, *ENTRIES), definitions(*training, *ENTRIES_OF_PHOTOGRAPHS)
    assert not [name for name in squares if "photograph" in name or ".parts." in name]
    assert {"stages.data.arrays.batches", "stages.training.loop.train"} < squares
    assert {
        "stages.data.photographs.decode_photograph",
        "stages.data.photograph_views.boxes_within",
        "stages.data.photograph_views.PhotographBatch",
        "stages.training.parts.parts_of",
        "stages.training.loop.train",
    } < photographs
