"""The stage that tests an arm on corrupted images and stimuli, on a small data set."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from stages.corruptions import trials
from stages.corruptions.trials import corrupted
from stages.data.arrays import read_manifest
from stages.data.writer import SplitWriter, write_manifest
from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.encoders.vit import load_encoder, pooled_features, save_encoder
from stages.heads.classifier import Classifier, save_classifier
from stages.heads.decisions import metrics
from stages.heads.tuned_head import load_head
from stages.robustness import robustness
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.paths import (
    features_dir,
    features_name,
    finetune_dir,
    model_dir,
    robustness_metrics,
    robustness_table,
)
from tests.project import copy_project, edit

VIT = Vit(width=16, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
NAMES = {"shape": ["disc", "star", "ring"], "texture": ["grass", "brick", "wool"]}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose arm cl is trained, with random weights, and fine-tuned, with random weights."""
    project = copy_project(tmp_path / "study")
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rng = np.random.default_rng(0)
    for split, count in (("train", 90), ("test", 30)):
        labels = {name: rng.integers(3, size=count) for name in NAMES}
        writer = SplitWriter(
            project / "data/prepared" / split, rows=count, image_size=16, labels=list(NAMES), masks=["masks"]
        )
        images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        masks = rng.integers(0, 2, (count, 16, 16)).astype(bool)
        writer.put(np.arange(count), images=images, masks=masks, **labels)
        writer.close()
        features_dir("cl", 0).mkdir(parents=True, exist_ok=True)
        features = {key: torch.randn(count, 16) for key in ("cls", "mean")} | {"image": torch.arange(count)}
        save_file(features, features_dir("cl", 0) / features_name("pooled", split))
    manifest = write_manifest(project / "data/prepared", source="here", image_size=16, labels=NAMES)
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    save_encoder(model_dir("cl", 0), encoder, vit=VIT, image_size=16, about={"seed": 0})
    task = Classifier(
        build_encoder(vit=VIT, image_size=16, seed=1),
        classes=[3, 3],
        settings=load_params().finetune,
        manifest=manifest,
        seed=0,
    )
    finetune_dir("cl", 0).mkdir(parents=True)
    save_classifier(finetune_dir("cl", 0), task, source=model_dir("cl", 0))
    return project


@pytest.mark.parametrize("pooling", ["mean", "token"])
def test_a_fine_tuned_encoder_and_its_head_are_the_classifier(study, pooling):
    images = torch.randn(5, 3, 16, 16)
    task = Classifier(
        build_encoder(vit=VIT, image_size=16, seed=1),
        classes=[2, 4],
        settings=load_params().finetune,
        manifest=None,
        seed=3,
        pooling=pooling,
    ).eval()
    with torch.no_grad():
        expected = task.encoder(images)
    folder = finetune_dir("cl", 0)
    save_classifier(folder, task, source=model_dir("cl", 0))
    head = load_head(folder, device=torch.device("cpu"))
    logits = head(pooled_features(load_encoder(folder), images))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_every_trial_is_there_for_both_heads_and_all_labels(study):
    robustness("cl")
    table = pd.read_csv(robustness_table("cl"))
    noise = table[table["trial"] == "frequency_noise"]
    assert set(noise["amplitude"]) == {0.1, 0.2} and noise["image"].nunique() == 8
    assert set(noise["image"]) < set(table.loc[table["trial"] == "clean", "image"])
    per_trial = table.groupby(["head", "labels", "trial", "level"]).size()
    assert set(per_trial[:, :, "frequency_noise"]) == {2 * 8}
    clean = per_trial.drop("cue_conflict", level="trial", errors="ignore")
    assert set(clean.drop("frequency_noise", level="trial")) == {12}  # images
    trials = {("clean", 0.0), ("frequency_noise", 0.5), ("frequency_noise", 1.0), ("patch_shuffle", 4.0)}
    trials |= {("amplitude_exchange", 0.5), ("amplitude_exchange", 1.0), ("edges", 1.0), ("silhouette", 1.0)}
    trials |= {("stylised", 1.0)}
    for head in ("linear", "fine-tuned"):
        for labels in NAMES:
            lost = {("reinitialised", 1.0), ("reinitialised", 2.0)} if head == "fine-tuned" else set()
            assert set(clean[head, labels].index) == trials | lost
    conflict = table[table["trial"] == "cue_conflict"]
    assert (conflict["truth"] != conflict["rival"]).all() and set(conflict["labels"]) == {"shape"}
    first = robustness_table("cl").read_bytes(), robustness_metrics("cl").read_bytes()
    robustness("cl")
    assert first == (robustness_table("cl").read_bytes(), robustness_metrics("cl").read_bytes())


def test_stimuli_are_read_with_the_cues_of_their_names(study, tmp_path):
    for shape in ("circle", "asterisk", "other"):
        (tmp_path / "stimuli" / shape).mkdir(parents=True)
        for texture in ("ringlet", "asterisk"):
            image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))
            image.save(tmp_path / "stimuli" / shape / f"{shape}1-{texture}2.png")
    classes = {"circle": "disc", "asterisk": "star", "ringlet": "ring"}
    stimuli = {"theirs": {"source": str(tmp_path / "stimuli"), "classes": classes}}
    edit(study, {"robustness": {"stimuli": stimuli}})
    robustness("cl")
    table = pd.read_csv(robustness_table("cl"))
    rows = table[(table["trial"] == "theirs") & (table["head"] == "linear")]
    assert sorted(zip(rows["truth"], rows["rival"], strict=True)) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert set(rows["labels"]) == {"shape"}
    edit(
        study,
        {
            "robustness": {
                "stimuli": {
                    "theirs": stimuli["theirs"] | {"classes": {"circle": "square", "asterisk": "star"}}
                }
            }
        },
    )
    with pytest.raises(
        StudyError, match=r"robustness\.stimuli\.theirs\.classes: the data have no class square"
    ):
        robustness("cl")


def test_images_are_corrupted_when_they_are_needed(study, monkeypatch):
    """A trial of many images does not wait in memory: only its first batch is there before it is tested."""
    monkeypatch.setattr(trials, "BATCH", 4)
    read, pictures = [], trials.pictures
    monkeypatch.setattr(
        trials, "pictures", lambda *args: (read.append(len(batch)) or batch for batch in pictures(*args))
    )
    every = [*corrupted(load_params(), read_manifest())]
    assert len(read) == len(every) - 1  # of each trial but the clean one
    assert all(sum(map(len, trial.batches)) == len(trial.images) for trial in every)


def test_a_level_that_does_not_fit_is_named(study):
    edit(study, {"robustness": {"corruptions": {"patch_shuffle": {"levels": [5]}}}})
    with pytest.raises(StudyError, match=r"patch_shuffle\.levels: images of 16 px cannot be cut"):
        robustness("cl")


def test_shape_bias_counts_decisions_for_either_cue():
    rows = [(0, 1, 0), (0, 1, 0), (0, 1, 1), (0, 1, 2), (1, 1, 1), (2, -1, 2)]
    table = pd.DataFrame(rows, columns=["truth", "rival", "predicted"]).assign(
        head="linear", labels="shape", trial="cue_conflict", level=0.0
    )
    result = metrics(table)["linear"]["shape"]["cue_conflict"]
    assert result["shape_bias"] == pytest.approx(2 / 3) and result["accuracy"] == pytest.approx(4 / 6)
