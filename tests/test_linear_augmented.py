"""The stage that probes augmented images, whole and on a tiny data set."""

import shutil

import numpy as np
import pandas as pd
import pytest

from stages import linear_augmented as stage
from stages.data.writer import SplitWriter, write_manifest
from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.encoders.vit import save_encoder
from stages.heads import augmenting
from stages.probes.augmented import Heads
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.paths import augmented_dir, model_dir, probe_metrics, probe_predictions, read_json
from stages.training import loop
from tests.project import copy_project, edit

VIT = Vit(width=16, depth=1, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
SETTINGS = {"arms": ["cl"], "epochs": 8, "batch_size": 48, "learning_rates": [0.3, 10.0]}
SETTINGS |= {"validation_fraction": 0.2}
NAMES = {"colour": ["red", "green", "blue"], "side": ["left", "right"]}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A project whose images tell their colour and which side is bright, and an untrained arm."""
    changes = {"linear_augmented": SETTINGS}
    project = copy_project(tmp_path / "study", changes=changes)
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 40)):
        colour, side = rng.integers(3, size=count), rng.integers(2, size=count)
        images = rng.integers(0, 60, (count, 16, 16, 3)).astype(np.uint8)
        images[np.arange(count), :, :, colour] += 120
        images[side == 0, :, :8] += 60
        images[side == 1, :, 8:] += 60
        writer = SplitWriter(project / "data/prepared" / split, rows=count, image_size=16, labels=list(NAMES))
        writer.put(np.arange(count), images=images, colour=colour, side=side)
        writer.close()
    write_manifest(project / "data/prepared", source="here", image_size=16, labels=NAMES)
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    save_encoder(model_dir("cl", 0), encoder, vit=VIT, image_size=16, about={"seed": 0})
    return project


def written():
    return [
        path.read_bytes() for path in (probe_metrics(stage.NAME, "cl"), probe_predictions(stage.NAME, "cl"))
    ]


def test_it_learns_and_says_what_it_chose(study):
    message = stage.linear_augmented("cl")
    assert message.startswith("colour 100.0%")
    metrics = read_json(probe_metrics(stage.NAME, "cl"))
    table = pd.read_csv(probe_predictions(stage.NAME, "cl"))
    assert "8 epochs" in metrics["protocol"]
    kinds = {"cls", "mean", "cls-batchnorm", "mean-batchnorm"}
    for labels, names in NAMES.items():
        result = metrics["labels"][labels]
        assert set(result["by_head"]) == kinds and result["images"] == 40
        assert result["chance"] == pytest.approx(1 / len(names), abs=1e-5)
        assert result["accuracy"] == result["by_head"][result["head"]]["accuracy"]
        assert {result[f"learning_rate_{kind}"] for kind in kinds} <= {0.3, 10.0}
        rows = table[table["labels"] == labels]
        assert set(rows["head"][rows["chosen"]]) == {result["head"]}
        right = (rows["truth"] == rows["predicted"]).groupby(rows["head"]).mean()
        assert right.to_dict() == pytest.approx(
            {kind: numbers["accuracy"] for kind, numbers in result["by_head"].items()}
        )
    # A flip takes the side away, whatever was learnt of colours.
    assert metrics["labels"]["side"]["accuracy"] < 0.8


def test_heads_and_rates_are_chosen_on_training_images_that_no_head_saw(study, monkeypatch):
    validation_labels, orders = [], []
    choose, batches = augmenting.choose, augmenting.batches

    def spying_choice(validation, labels, **kinds):
        validation_labels.append(labels.tolist())
        return choose(validation, labels, **kinds)

    def spying_batches(images, order, **how):
        orders.append(np.concatenate(list(order)).tolist())
        return batches(images, order, **how)

    monkeypatch.setattr(augmenting, "choose", spying_choice)
    monkeypatch.setattr(augmenting, "batches", spying_batches)
    stage.linear_augmented("cl")
    *epochs, held_out, test = orders
    assert len(epochs) == 8 and all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8  # in another order each time
    assert sorted([*epochs[0], *held_out]) == list(range(60)) and len(held_out) == 12
    assert test == list(range(40))
    colours = np.load(study / "data/prepared/train/colour.npy")
    assert validation_labels[0] == colours[held_out].tolist()


def test_every_epoch_shows_other_crops(study, monkeypatch):
    shown = []
    forward = Heads.forward

    def spying(self, images, labels):
        shown.append({image.numpy().tobytes() for image in images})
        return forward(self, images, labels)

    monkeypatch.setattr(Heads, "forward", spying)
    stage.linear_augmented("cl")  # a batch is an epoch
    assert [len(epoch) for epoch in shown] == 8 * [48]
    assert len(set.union(*shown)) > 0.97 * 8 * 48  # at 16 px a crop may come twice


def test_a_run_that_was_stopped_ends_in_the_same_bytes(study, monkeypatch):
    stage.linear_augmented("cl")
    expected = written()
    edit(study, {"linear_augmented": {"arms": ["cl", "mim"]}})  # what other arms do is no matter
    before = sorted(path.name for path in (study / "scratch/trainings").iterdir())
    stage.linear_augmented("cl")
    assert written() == expected
    assert sorted(path.name for path in (study / "scratch/trainings").iterdir()) == before
    (study / "scratch").rename(study / "away")
    shutil.rmtree(augmented_dir("cl", 0))
    steps, take_step = iter(range(100)), loop.take_step

    def stopping(*words, **more):
        if next(steps) == 5:
            raise KeyboardInterrupt
        return take_step(*words, **more)

    monkeypatch.setattr(loop, "take_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        stage.linear_augmented("cl")
    stage.linear_augmented("cl")
    assert next(steps) == 5 + 1 + 3  # five epochs, the stop, the three that were left
    assert written() == expected


def test_another_seed_of_the_arm_augments_otherwise(study, monkeypatch):
    shown = []
    views = Heads.views

    def spying(self, *words, draws, **more):
        seen = views(self, *words, draws=draws, **more)
        shown.append(draws.uniform(1)[0].item())  # what this step draws next
        return seen

    monkeypatch.setattr(Heads, "views", spying)
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    save_encoder(model_dir("cl", 1), encoder, vit=VIT, image_size=16, about={"seed": 1})
    stage.linear_augmented("cl")
    assert len(shown) == 16 and not set(shown[:8]) & set(shown[8:])
    table = pd.read_csv(probe_predictions(stage.NAME, "cl"))
    assert table["seed"].unique().tolist() == [0, 1]
    metrics = read_json(probe_metrics(stage.NAME, "cl"))
    of_seeds = [metrics["seeds"][seed]["labels"]["side"]["accuracy"] for seed in ("0", "1")]
    assert metrics["labels"]["side"]["accuracy"] == pytest.approx(np.mean(of_seeds), abs=1e-5)


def test_mistakes_are_one_line(study):
    edit(study, {"linear_augmented": {"batch_size": 64}})
    with pytest.raises(StudyError, match="linear_augmented cl seed 0: batch_size 64 exceeds the 48 training"):
        stage.linear_augmented("cl")
    edit(study, {"linear_augmented": {"arms": ["cl", "nobody"]}})
    with pytest.raises(StudyError, match=r"linear_augmented\.arms: no arm 'nobody'; choose from: random, cl"):
        load_params()
