"""The stage that segments, on small data that know the pixels of their objects, and on data that do not."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from stages.data.arrays import read_manifest
from stages.data.writer import SplitWriter, write_manifest
from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.encoders.vit import save_encoder
from stages.features import frozen_features
from stages.heads.segmenter import Segmenter
from stages.probes.linear import LinearHead
from stages.probes.segmentation import IGNORED, upsampled
from stages.segment import segment, segmentings
from stages.study.params import load_params
from stages.study.paths import (
    features_dir,
    features_name,
    model_dir,
    segmentation_metrics,
    segmentation_table,
)
from stages.study.seeds import Draws
from stages.training.loop import parameter_groups
from tests.project import copy_project, edit

VIT = Vit(width=16, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
NAMES = {"shape": ["disc", "star"], "texture": ["grass", "brick", "wool"]}


def make(tmp_path, monkeypatch, *, masks):
    project = copy_project(tmp_path / "study")
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rng = np.random.default_rng(0)
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    for split, count in (("train", 64), ("test", 20)):
        writer = SplitWriter(
            project / "data/prepared" / split, rows=count, image_size=16, labels=list(NAMES), masks=masks
        )
        labels = {name: rng.integers(2, size=count) for name in NAMES}
        objects = np.zeros((count, 16, 16), dtype=bool)
        objects[:, 4:12, 4:12] = True
        images = rng.integers(0, 60, (count, 16, 16, 3), dtype=np.uint8)
        images[objects] += (80 * (1 + labels["shape"].repeat(64)))[:, None].astype(
            np.uint8
        )  # told by brightness
        known = {"masks": objects, "ignored": np.roll(objects, 8, axis=2)}
        known = {name: known[name] for name in masks}
        writer.put(np.arange(count), images=images, **known, **labels)
        writer.close()
        features_dir("cl", 0).mkdir(parents=True, exist_ok=True)
        seen = frozen_features(encoder.eval(), torch.from_numpy(images).permute(0, 3, 1, 2).float() / 128 - 1)
        tokens = seen["tokens"] | {"image": torch.arange(count)}
        save_file(tokens, features_dir("cl", 0) / features_name("tokens", split))
    write_manifest(project / "data/prepared", source="here", image_size=16, labels=NAMES)
    save_encoder(model_dir("cl", 0), encoder, vit=VIT, image_size=16, about={"seed": 0})


def test_all_ways_find_objects_that_can_be_seen(tmp_path, monkeypatch):
    make(tmp_path, monkeypatch, masks=["masks"])
    message = segment("cl")
    table = pd.read_csv(segmentation_table("cl"))
    assert set(table["way"]) == {"linear", "knn", "fine-tuned"} and table["image"].nunique() == 12
    assert (table["intersection"] <= table["union"]).all() and (table["union"] > 0).all()
    metrics = json.loads(segmentation_metrics("cl").read_text())
    assert metrics["classes"] == ["none", "disc", "star"]
    for way, numbers in metrics["ways"].items():
        counts = table[table["way"] == way].groupby("class")[["intersection", "union"]].sum()
        assert numbers["miou"] == pytest.approx((counts["intersection"] / counts["union"]).mean(), abs=1e-5)
        assert numbers["low"] <= numbers["miou"] <= numbers["high"] and numbers["images"] == 12
        assert numbers["miou"] > 0.3  # of all background: 0.25
    assert "linear " in message
    first = segmentation_table("cl").read_bytes()
    segment("cl")
    assert segmentation_table("cl").read_bytes() == first


def test_fine_tuning_trains_the_encoder_and_the_head():
    head = LinearHead(torch.zeros(17, 3), mean=torch.zeros(16), std=torch.ones(16))
    task = Segmenter(build_encoder(vit=VIT, image_size=16, seed=0), head, manifest=None)
    groups = parameter_groups(task, weight_decay=0.05, layer_decay=0.65)
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    assert trained == {id(parameter) for parameter in task.parameters() if parameter.requires_grad}
    scales = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    assert {scales[id(parameter)] for parameter in task.encoder.head.parameters()} == {1.0}


def test_as_many_images_are_measured_if_only_some_held_out_images_have_features(tmp_path, monkeypatch):
    make(tmp_path, monkeypatch, masks=["masks"])
    path = features_dir("cl", 0) / features_name("tokens", "test")
    save_file({name: values[5:18].clone() for name, values in load_file(path).items()}, path)
    segment("cl")
    images = pd.read_csv(segmentation_table("cl"))["image"].unique()
    assert len(images) == 12 and set(images) <= set(range(5, 18))


def test_another_number_of_features_segments_again(tmp_path, monkeypatch):
    make(tmp_path, monkeypatch, masks=["masks"])
    read = [
        segmentings(load_params(stage="segment", arm="cl"), "cl", manifest=read_manifest())[0].fingerprint
        for images in (64, 30)
        if not edit(tmp_path / "study", {"features": {"token_images": images}})
    ]
    assert read[0] != read[1]


def test_ignored_pixels_are_neither_learnt_nor_counted(tmp_path, monkeypatch):
    make(tmp_path, monkeypatch, masks=["masks", "ignored"])
    segment("cl")
    table = pd.read_csv(segmentation_table("cl"))
    counted = 16 * 16 - 8 * 8
    assert (table["union"] <= counted).all()
    # Each pixel that counts is in the intersection of its class, or in the unions of two.
    of_each = table.groupby(["way", "image"])[["intersection", "union"]].sum()
    assert (of_each["union"] + of_each["intersection"] == 2 * counted).all()


def test_the_loss_of_a_batch_is_the_mean_of_its_parts_whatever_is_ignored():
    generator = torch.Generator().manual_seed(0)
    head = LinearHead(torch.randn(17, 3, generator=generator), mean=torch.zeros(16), std=torch.ones(16))
    task = Segmenter(build_encoder(vit=VIT, image_size=16, seed=0), head, manifest=None).eval()
    images = torch.randn(4, 3, 16, 16, generator=generator)
    targets = torch.randint(3, (4, 16, 16), generator=generator)
    targets[0, :, :9], targets[1] = IGNORED, IGNORED  # some of an image, and all of one
    whole = task(images, targets)["loss"]
    parts = [task(images[[place]], targets[[place]])["loss"] for place in range(4)]
    torch.testing.assert_close(whole, torch.stack(parts).mean())
    assert parts[1] == 0
    scores = upsampled(task.scores(images), size=16)
    seen = targets[0] != IGNORED
    expected = F.cross_entropy(scores[0].permute(1, 2, 0)[seen], targets[0][seen])
    torch.testing.assert_close(parts[0], expected)
    torch.testing.assert_close(
        task(images[2:], targets[2:])["loss"], F.cross_entropy(scores[2:], targets[2:])
    )


def test_data_without_masks_are_not_measured(tmp_path, monkeypatch):
    make(tmp_path, monkeypatch, masks=[])
    assert "has no object masks" in segment("cl", seed=0)  # fills the store, and there is nothing to fill
    assert not segmentation_table("cl").exists()
    assert "has no object masks" in segment("cl")
    assert pd.read_csv(segmentation_table("cl")).empty
    assert "why" in json.loads(segmentation_metrics("cl").read_text())


def test_an_image_is_flipped_with_the_classes_of_its_pixels():
    task = Segmenter.__new__(Segmenter)
    torch.nn.Module.__init__(task)
    task.manifest = type("Manifest", (), {"mean": (0.0,) * 3, "std": (1 / 255,) * 3})()
    targets = torch.randint(5, (20, 6, 6))
    images = targets[:, None].expand(-1, 3, -1, -1).to(torch.uint8)
    seen, classes = task.views(images, targets, draws=Draws(torch.Generator().manual_seed(0), batch=20))
    torch.testing.assert_close(seen[:, 0].round().long(), classes)
    flipped = [(classes[place] == targets[place].flip(-1)).all().item() for place in range(20)]
    unchanged = [(classes[place] == targets[place]).all().item() for place in range(20)]
    assert 4 < sum(flipped) < 16 and all(a != b for a, b in zip(flipped, unchanged, strict=True))
