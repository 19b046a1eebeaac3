"""What pre-training writes, and when it trains again; tests/training/test_resume.py stops it."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from stages.data.arrays import read_manifest
from stages.pretrain import pretrainings
from stages.study.params import load_params
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
    return files(prepared)


def files(project, arm="hybrid"):
    """The bytes of what pre-training left of seed 0, by name."""
    folder = project / "models" / arm / "0"
    return {f"{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_encoder_and_its_history_are_written(uninterrupted):
    assert set(uninterrupted) == {
        *("encoder.safetensors", "encoder.json", "history.csv", "gradients.csv", "training.json"),
        *(f"snapshots/{share}/encoder.{kind}" for share in (0.1, 0.33) for kind in ("safetensors", "json")),
    }
    header, *rows = uninterrupted["history.csv"].decode().splitlines()
    assert header.split(",")[:5] == ["seed", "epoch", "loss", "contrastive", "masked"]
    assert len(rows) == 4
    header, *rows = uninterrupted["gradients.csv"].decode().splitlines()
    assert header.split(",")[:5] == ["seed", "epoch", "block", "cl_weight", "dot"]
    assert [row.split(",")[:3] for row in rows] == [["0", e, b] for e in "1234" for b in "12"]


@pytest.mark.parametrize("arm", [{"objective": "hybrid", "cl_weight": 0.2}, {"objective": "dino"}])
def test_a_snapshot_is_the_encoder_that_a_training_stopped_there_ends_with(prepared, tmp_path, arm):
    project = tmp_path / "stopped"
    shutil.copytree(prepared, project, ignore=shutil.ignore_patterns("models", "scratch"))
    # A quarter of four epochs, and half of the first of them.
    changes = {"pretrain": {"snapshots": [0.25, 0.5]}}
    edit(project, changes | {"arms": {"whole": arm, "stopped": arm | {"stop_epoch": 1}}})
    for name in ("whole", "stopped"):
        succeed(project, "pretrain", "--arm", name)
    whole, stopped = files(project, "whole"), files(project, "stopped")
    quarter = whole["snapshots/0.25/encoder.safetensors"]
    assert quarter == stopped["encoder.safetensors"] != whole["encoder.safetensors"]
    seen = {
        name: json.loads(content)["images_seen"] for name, content in whole.items() if "encoder.json" in name
    }
    assert seen == {"encoder.json": 384, "snapshots/0.25/encoder.json": 96, "snapshots/0.5/encoder.json": 192}
    assert json.loads(stopped["snapshots/0.5/encoder.json"])["images_seen"] == 64  # 2 of 3 steps of 32


def test_only_a_training_that_keeps_them_is_named_by_its_snapshots(prepared, monkeypatch):
    monkeypatch.chdir(prepared)
    params, manifest = load_params(), read_manifest()

    def names(snapshots):
        recipe = params.pretrain.model_copy(update={"snapshots": snapshots})
        changed = params.model_copy(update={"pretrain": recipe})
        return [pretrainings(changed, arm, manifest=manifest)[0].fingerprint for arm in ("hybrid", "random")]

    none, one, two = names([]), names([0.1]), names([0.1, 0.33])
    assert len({none[0], one[0], two[0]}) == 3 and len({none[1], one[1], two[1]}) == 1


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
    assert files(project) == uninterrupted


def test_the_supervised_arm_is_given_the_labels(prepared, tmp_path):
    project = tmp_path / "supervised"
    shutil.copytree(prepared, project, ignore=shutil.ignore_patterns("models", "scratch"))
    edit(project, {"arms": {"supervised": {"objective": "supervised"}}})
    forked(project, "pretrain", "--arm", "supervised")
    _, *rows = (project / "models/supervised/0/history.csv").read_text().splitlines()
    losses = [float(row.split(",")[2]) for row in rows]
    assert 2.5 > losses[0] > losses[-1]  # from about log 10, the loss of guessing, down


def test_the_training_follows_its_recipe(prepared, tmp_path):
    """Every setting of the optimiser and of the encoder in training changes the weights."""
    project = tmp_path / "recipes"
    shutil.copytree(prepared, project, ignore=shutil.ignore_patterns("models", "scratch"))
    recipes = {
        "plain": {},
        "beta2": {"beta2": 0.5},
        "drop_path": {"drop_path": 0.5},
        "decay": {"weight_decay": 0.4},
        "decay_end": {"weight_decay_end": 0.4},
        "decay_all": {"decay_all": True, "weight_decay": 0.4},
        "min_lr": {"min_lr": 1.0e-4},
        "clip": {"clip_grad": 1.0e-4},
        "warmup": {"warmup_epochs": 1},
        "milestone": {"schedule": "multistep"},
    }
    edit(project, {"arms": {name: {"objective": "masked"} | recipe for name, recipe in recipes.items()}})
    weights = {}
    for name in recipes:
        forked(project, "pretrain", "--arm", name)
        weights[name] = (project / f"models/{name}/0/encoder.safetensors").read_bytes()
    assert len(set(weights.values())) == len(recipes)


def test_run_again_unchanged_it_only_collects_what_the_store_has(prepared, uninterrupted):
    shutil.rmtree(prepared / "models")
    # What this arm does not depend on may change, such as its label.
    edit(prepared, {"labels": {"hybrid": "Both"}})
    done = forked(prepared, "pretrain", "--arm", "hybrid")
    assert "epoch" not in done.stdout
    assert files(prepared) == uninterrupted


def test_a_changed_weight_is_another_training(prepared, uninterrupted):
    edit(prepared, {"arms": {"hybrid": {"cl_weight": 0.5}}})
    done = forked(prepared, "pretrain", "--arm", "hybrid")
    assert "resumed" not in done.stdout
    weights = (prepared / "models/hybrid/0/encoder.safetensors").read_bytes()
    assert weights != uninterrupted["encoder.safetensors"]
    edit(prepared, {"arms": {"hybrid": {"cl_weight": 0.2}}})


def test_a_setting_that_an_arm_overrides_is_another_training_of_this_arm_alone(prepared, uninterrupted):
    from stages.data.arrays import read_manifest
    from stages.pretrain import pretrainings
    from stages.study.params import load_params

    params = load_params(prepared / "params.yaml")
    mild = params.arms["cl"].model_copy(update={"objectives": {"contrastive": {"temperature": 0.5}}})
    study = params.model_copy(update={"arms": params.arms | {"mild": mild, "same": params.arms["cl"]}})
    manifest = read_manifest(prepared / "data/prepared")
    names = {
        arm: pretrainings(study, arm, manifest=manifest)[0].fingerprint for arm in ("cl", "same", "mild")
    }
    assert names["cl"] == names["same"] != names["mild"]


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
        ({}, "nobody", "no arm 'nobody'; choose from: random, cl, mim, hybrid"),
        (
            {"arms": {"big": {"objective": "masked", "batch_size": 500}}},
            "big",
            "batch_size 500 exceeds the 96",
        ),
        (
            {"arms": {"odd": {"objective": "maskd"}}},
            "odd",
            "no objectives named 'maskd'; choose from: autoencoder, contrastive, dino",
        ),
        (
            {"arms": {"idle": {"objective": "masked", "objectives": {"dino": {"momentum": 0.9}}}}},
            "idle",
            "arms.idle.objectives.dino: objective masked reads masked; remove dino",
        ),
    ):
        edit(prepared, changes)
        done = forked(prepared, "pretrain", "--arm", arm)
        assert done.returncode == 2
        assert words in done.stderr and done.stderr.count("\n") == 1
        assert not (prepared / "models" / arm).exists()
