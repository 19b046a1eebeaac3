"""What pre-training writes, and when it trains again; tests/training/test_resume.py stops it."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.forked import forked, succeed
from tests.project import as_dvc_repository, copy_project, edit, environment, run_in


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("pretrain"), changes={"pretrain": {"epochs": 4}})
    succeed(project, "prepare")
    return project


@pytest.fixture(scope="module")
def uninterrupted(prepared):
    done = succeed(prepared, "pretrain", "--arm", "hybrid")
    assert "resumed" not in done.stdout
    assert done.stdout.count("epoch ") >= 4
    return {path.name: path.read_bytes() for path in (prepared / "models/hybrid/0").iterdir()}


def test_the_encoder_and_its_history_are_written(uninterrupted):
    assert set(uninterrupted) == {
        *("encoder.safetensors", "encoder.json", "history.csv", "gradients.csv", "training.json")
    }
    header, *rows = uninterrupted["history.csv"].decode().splitlines()
    assert header.split(",")[:5] == ["seed", "epoch", "loss", "contrastive", "masked"]
    assert len(rows) == 4
    header, *rows = uninterrupted["gradients.csv"].decode().splitlines()
    assert header == "seed,epoch,block,cosine,norm_cl,norm_mim"
    assert [row.split(",")[:3] for row in rows] == [["0", e, b] for e in "1234" for b in "12"]
    assert all(-1 <= float(row.split(",")[3]) <= 1 for row in rows)


def test_killed_dvc_repro_goes_on_and_ends_in_the_same_bytes(prepared, uninterrupted, tmp_path):
    project = tmp_path / "killed"
    shutil.copytree(prepared, project, ignore=shutil.ignore_patterns("models", "scratch"))
    as_dvc_repository(project)
    repro = ["dvc", "repro", "--single-item", "pretrain@hybrid"]
    process = subprocess.Popen(
        repro, cwd=project, env=environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(project.glob("scratch/trainings/*/epoch-00002.pt")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # DVC and the stage
    process.wait()
    assert not (project / "models/hybrid").exists()
    done = run_in(project, *repro)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed at epoch" in done.stdout
    assert {path.name: path.read_bytes() for path in (project / "models/hybrid/0").iterdir()} == uninterrupted


def test_the_supervised_arm_is_given_the_labels(prepared, tmp_path):
    project = tmp_path / "supervised"
    shutil.copytree(prepared, project, ignore=shutil.ignore_patterns("models", "scratch"))
    edit(project, {"arms": {"supervised": {"objective": "supervised"}}})
    forked(project, "pretrain", "--arm", "supervised")
    _, *rows = (project / "models/supervised/0/history.csv").read_text().splitlines()
    losses = [float(row.split(",")[2]) for row in rows]
    assert 2.5 > losses[0] > losses[-1]  # from about log 10, the loss of guessing, down


def test_run_again_unchanged_it_only_collects_what_the_store_has(prepared, uninterrupted):
    shutil.rmtree(prepared / "models")
    # What this arm does not depend on may change, such as its label.
    edit(prepared, {"labels": {"hybrid": "Both"}})
    done = forked(prepared, "pretrain", "--arm", "hybrid")
    assert "epoch" not in done.stdout
    assert {
        path.name: path.read_bytes() for path in (prepared / "models/hybrid/0").iterdir()
    } == uninterrupted


def test_a_changed_weight_is_another_training(prepared, uninterrupted):
    edit(prepared, {"arms": {"hybrid": {"cl_weight": 0.5}}})
    done = forked(prepared, "pretrain", "--arm", "hybrid")
    assert "resumed" not in done.stdout
    weights = (prepared / "models/hybrid/0/encoder.safetensors").read_bytes()
    assert weights != uninterrupted["encoder.safetensors"]
    edit(prepared, {"arms": {"hybrid": {"cl_weight": 0.2}}})


def test_the_random_arm_is_the_initialisation_of_all(prepared):
    import torch

    from stages.encoders.architecture import build_encoder
    from stages.encoders.vit import load_encoder
    from stages.study.params import load_params
    from stages.study.seeds import derive

    forked(prepared, "pretrain", "--arm", "random")
    params = load_params(prepared / "params.yaml")
    start = build_encoder(vit=params.vit, image_size=16, seed=derive(0, "init"))
    for name, value in load_encoder(prepared / "models/random/0").state_dict().items():
        assert torch.equal(value, start.state_dict()[name])
    assert (prepared / "models/random/0/history.csv").read_text() == "seed,epoch,loss,grad_norm,lr\n"


def test_an_unknown_arm_or_too_large_a_batch_is_one_line(prepared):
    for changes, arm, words in (
        ({}, "nobody", "no arm 'nobody'; there are: random, cl, mim, hybrid"),
        (
            {"arms": {"big": {"objective": "masked", "batch_size": 500}}},
            "big",
            "batch_size 500 is more than the 96",
        ),
        (
            {"arms": {"odd": {"objective": "maskd"}}},
            "odd",
            "no objectives named 'maskd'; there are: autoencoder, contrastive, dino",
        ),
    ):
        edit(prepared, changes)
        done = forked(prepared, "pretrain", "--arm", arm)
        assert done.returncode == 2
        assert words in done.stderr and done.stderr.count("\n") == 1
        assert not (prepared / "models" / arm).exists()
