"""The stage around a probe: what it hands over and what it picks."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from stages.data.writer import SplitWriter, write_manifest
from stages.probe import probe
from stages.study.paths import (
    features_dir,
    features_name,
    model_dir,
    probe_metrics,
    probe_predictions,
    read_json,
)
from tests.project import copy_project

NAMES = ["a", "b", "c"]


@pytest.fixture
def truth(tmp_path, monkeypatch):
    """A project with labelled images and nothing on them, and the labels of each split."""
    project = copy_project(tmp_path / "study")
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rng = np.random.default_rng(0)
    labels = {"train": rng.integers(3, size=200), "test": rng.integers(3, size=90)}
    for split, kinds in labels.items():
        folder = project / "data/prepared" / split
        writer = SplitWriter(folder, rows=len(kinds), image_size=4, labels=["kind"])
        images = np.zeros((len(kinds), 4, 4, 3), dtype=np.uint8)
        writer.put(np.arange(len(kinds)), images=images, kind=kinds)
        writer.close()
    write_manifest(project / "data/prepared", source="here", image_size=4, labels={"kind": NAMES})
    features_dir("cl", 0).mkdir(parents=True)
    model_dir("cl", 0).mkdir(parents=True)
    return {split: torch.from_numpy(kinds) for split, kinds in labels.items()}


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_the_pooling_is_chosen_on_training_images_alone(name, truth):
    codes = torch.eye(3, 8)
    for split, kinds in truth.items():
        blurred = noise(len(kinds), 8)
        # The class token tells the class of training images and misleads on held-out ones.
        signal = codes[kinds] if split == "train" else codes[(kinds + 1) % 3]
        features = {"cls": signal + 0.01 * blurred, "mean": blurred, "image": torch.arange(len(kinds))}
        save_file(features, features_dir("cl", 0) / features_name("pooled", split))

    probe(arm="cl", name=name)

    result = read_json(probe_metrics(name, "cl"))["labels"]["kind"]
    assert result["pooling"] == "cls"
    accuracies = {key: numbers["accuracy"] for key, numbers in result["by_pooling"].items()}
    assert result["accuracy"] == accuracies["cls"] == 0 < accuracies["mean"]
    table = pd.read_csv(probe_predictions(name, "cl"))
    assert set(table["pooling"][table["chosen"]]) == {"cls"}
    right = (table["truth"] == table["predicted"]).groupby(table["pooling"]).mean()
    assert right.to_dict() == pytest.approx(accuracies, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "kind", "varies", "chosen"),
    [("layerwise", "blocks", "block", 10), ("attentive", "tokens", "pooling", "attention")],
)
def test_labels_and_predictions_are_those_of_the_images_that_were_cached(name, kind, varies, chosen, truth):
    codes = 3 * torch.eye(3, 8)
    for split, kinds in truth.items():
        images = torch.arange(1, len(kinds), 3)  # a reader who took the first labels would find nothing
        signal = codes[kinds[images]]
        if kind == "tokens":
            signal = signal[:, None].expand(-1, 4, -1)
            features = {"patches": (signal + 0.1 * noise(len(images), 4, 8)).half()}
        else:  # after block 2 by number, before it by name
            features = {str(block): noise(len(images), 8, seed=block) for block in (0, 2)}
            features["10"] = signal + 0.1 * noise(len(images), 8)
        save_file(features | {"image": images}, features_dir("cl", 0) / features_name(kind, split))

    probe(arm="cl", name=name)

    result = read_json(probe_metrics(name, "cl"))["labels"]["kind"]
    assert result["accuracy"] > 0.8 and result["images"] == len(images)  # a third by chance
    assert result[varies] == str(chosen)
    table = pd.read_csv(probe_predictions(name, "cl"))
    assert list(table) == ["seed", "image", "labels", varies, "truth", "predicted", "chosen"]
    assert table["image"].tolist() == images.tolist() * table[varies].nunique()
    assert table["truth"].tolist() == truth["test"][table["image"].tolist()].tolist()
    assert set(table[varies][table["chosen"]]) == {chosen}


def test_the_accuracy_of_few_labels_is_that_of_the_largest_share(truth):
    for split, kinds in truth.items():
        features = {"mean": 3 * torch.eye(3, 8)[kinds] + noise(len(kinds), 8)}  # no class token
        save_file(
            features | {"image": torch.arange(len(kinds))},
            features_dir("cl", 0) / features_name("pooled", split),
        )
    probe(arm="cl", name="few_shot")
    result = read_json(probe_metrics("few_shot", "cl"))["labels"]["kind"]
    assert result["share"] == "0.1" and list(result["by_share"]) == ["0.01", "0.1"]
    assert (
        result["accuracy"] == result["by_share"]["0.1"]["accuracy"] > result["by_share"]["0.01"]["accuracy"]
    )
    assert result["images_0.01"] == 3  # two in two hundred, but one of each class
