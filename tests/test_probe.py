"""The stage around a probe: what it hands over and what it picks."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from stages.data.writer import SplitWriter, write_manifest
from stages.probe import probe
from stages.study.paths import features_dir, probe_metrics, probe_predictions, read_json
from tests.project import copy_project


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_the_pooling_is_chosen_on_training_images_alone(name, tmp_path, monkeypatch):
    copy_project(tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rng = np.random.default_rng(0)
    labels = {"train": rng.integers(3, size=200), "test": rng.integers(3, size=90)}
    codes = torch.eye(3, 8)
    for split, truth in labels.items():
        writer = SplitWriter(tmp_path / "study/data" / split, rows=len(truth), image_size=4, labels=["kind"])
        images = np.zeros((len(truth), 4, 4, 3), dtype=np.uint8)
        writer.put(np.arange(len(truth)), images=images, kind=truth)
        writer.close()
        noise = torch.from_numpy(rng.normal(size=(len(truth), 8)).astype(np.float32))
        # The class token tells the class of training images and misleads on held-out ones.
        told = codes[truth] if split == "train" else codes[(truth + 1) % 3]
        features_dir("cl").mkdir(parents=True, exist_ok=True)
        save_file({"cls": told + 0.01 * noise, "mean": noise}, features_dir("cl") / f"{split}.safetensors")
    names = ["a", "b", "c"]
    write_manifest(tmp_path / "study/data", source="here", image_size=4, labels={"kind": names})

    probe(arm="cl", name=name)

    result = read_json(probe_metrics(name, "cl"))["labels"]["kind"]
    assert result["pooling"] == "cls"
    assert result["accuracy"] == result["by_pooling"]["cls"] == 0 < result["by_pooling"]["mean"]
    table = pd.read_csv(probe_predictions(name, "cl"))
    assert set(table["pooling"][table["chosen"]]) == {"cls"}
    right = (table["truth"] == table["predicted"]).groupby(table["pooling"]).mean()
    assert right.to_dict() == pytest.approx(result["by_pooling"], abs=1e-5)
