"""Fine-tuning: targets of several label sets, that it learns, and which pooling is chosen."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from stages.data.arrays import read_manifest
from stages.data.randaugment import randaugmented
from stages.data.writer import SplitWriter, write_manifest
from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.encoders.vit import save_encoder
from stages.finetune import finetune, finetunings
from stages.heads.classifier import Classifier, joint_labels
from stages.heads.finetuning import divided
from stages.heads.variants import best_pooling, protocol
from stages.study.errors import ParamsError, StudyError
from stages.study.params import load_params
from stages.study.paths import finetune_dir, finetune_metrics, model_dir
from stages.study.seeds import Draws
from tests.project import ROOT, copy_project, edit

VIT = Vit(width=32, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")


class Manifest:
    mean, std, image_size = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 16


def classifier(classes, **changes):
    settings = load_params(ROOT / "params.yaml").finetune.model_copy(update=changes)
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    return Classifier(encoder, classes=classes, settings=settings, manifest=Manifest(), seed=0)


@pytest.mark.parametrize("classes", [[3], [3, 4], [2, 3, 4]])
def test_marginal_targets_are_those_of_each_set_alone(classes):
    task = classifier(classes)
    shares = [torch.rand(5, n).softmax(1) for n in classes]
    joint = shares[0]
    for share in shares[1:]:
        joint = (joint[:, :, None] * share[:, None, :]).flatten(1)
    torch.testing.assert_close(task.marginals(joint), torch.cat(shares, dim=1))


def test_the_class_of_a_combination_is_told_apart_by_each_set():
    labels = {"shape": np.array([0, 2, 1]), "texture": np.array([3, 0, 2])}
    joint = joint_labels(
        SimpleNamespace(labels=labels), SimpleNamespace(labels={"shape": "abc", "texture": "wxyz"})
    )
    one_hot = torch.nn.functional.one_hot(joint, 12).float()
    shape, texture = classifier([3, 4]).marginals(one_hot).split([3, 4], dim=1)
    assert shape.argmax(1).tolist() == [0, 2, 1] and texture.argmax(1).tolist() == [3, 0, 2]


def test_smoothing_of_combinations_is_smoothing_of_each_set():
    task = classifier([3, 4], mixup=0.0, cutmix=0.0, label_smoothing=0.12)
    images = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    joint = torch.tensor([0, 5, 11, 3, 7, 2])
    _, targets = task.views(images, joint, draws=Draws(torch.Generator().manual_seed(0), batch=len(images)))
    first = torch.full((6, 3), 0.12 / 3).scatter_add(1, (joint // 4)[:, None], torch.full((6, 1), 0.88))
    second = torch.full((6, 4), 0.12 / 4).scatter_add(1, (joint % 4)[:, None], torch.full((6, 1), 0.88))
    torch.testing.assert_close(targets, torch.cat([first, second], dim=1))


def test_mixed_targets_sum_to_one_per_set_and_the_generator_decides():
    task = classifier([3, 4], mixup=0.8, cutmix=1.0)
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)

    def views(seed):
        return task.views(images, torch.arange(8), draws=Draws(torch.Generator().manual_seed(seed), batch=8))

    mixed, targets = views(0)
    torch.testing.assert_close(targets.split([3, 4], dim=1)[0].sum(1), torch.ones(8))
    torch.testing.assert_close(targets.split([3, 4], dim=1)[1].sum(1), torch.ones(8))
    assert torch.equal(mixed, views(0)[0]) and not torch.equal(mixed, views(1)[0])


def test_it_learns():
    # Two label sets that the brightness of the upper and of the lower half tell.
    rng = np.random.default_rng(0)
    upper, lower = rng.integers(2, size=128), rng.integers(2, size=128)
    images = torch.from_numpy(rng.integers(0, 60, (128, 3, 16, 16)).astype(np.uint8))
    images[:, :, :8] += torch.from_numpy((150 * upper).astype(np.uint8))[:, None, None, None]
    images[:, :, 8:] += torch.from_numpy((150 * lower).astype(np.uint8))[:, None, None, None]
    task = classifier([2, 2], drop_path=0.0)
    optimizer = torch.optim.AdamW(task.parameters(), lr=2e-3)
    joint = torch.from_numpy(2 * upper + lower)
    losses, accuracies = [], []
    for step in range(60):
        inputs = task.views(
            images, joint, draws=Draws(torch.Generator().manual_seed(step), batch=len(images))
        )
        numbers = task(*inputs)
        loss = numbers["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        accuracies.append(numbers["accuracy"].item())
    assert np.mean(losses[:3]) > 0.6 and np.mean(losses[-5:]) < 0.5
    assert accuracies[0] < 0.75 and np.mean(accuracies[-5:]) > 0.9


def test_randaugment_is_reproducible_and_changes_pictures():
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)

    def augmented(seed, rows=slice(None), policy="rand-m9-n2-mstd0.5-inc1"):
        stream = randaugmented(
            iter([images[rows]]),
            order=[np.arange(8)[rows]],
            policy=policy,
            manifest=Manifest(),
            seed=seed,
        )
        return next(stream)

    assert augmented(0).shape == images.shape and augmented(0).dtype == torch.uint8
    assert torch.equal(augmented(0), augmented(0))
    assert not torch.equal(augmented(0), images) and not torch.equal(augmented(0), augmented(1))
    # whatever else is in the batch
    assert torch.equal(augmented(0, rows=slice(4, 8)), augmented(0)[4:])
    assert torch.equal(augmented(0, policy=None), images)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose arm cl has two encoders, with random weights."""
    project = copy_project(tmp_path / "study", changes={"seeds": [0, 1]})
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rng = np.random.default_rng(0)
    for split, count in (("train", 80), ("test", 30)):
        writer = SplitWriter(project / "data/prepared" / split, rows=count, image_size=16, labels=["class"])
        images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        writer.put(np.arange(count), images=images, **{"class": rng.integers(3, size=count)})
        writer.close()
    write_manifest(project / "data/prepared", source="here", image_size=16, labels={"class": ["a", "b", "c"]})
    for seed in (0, 1):
        encoder = build_encoder(vit=VIT, image_size=16, seed=seed)
        save_encoder(model_dir("cl", seed), encoder, vit=VIT, image_size=16, about={"seed": seed})
    return project


def test_validation_chooses_one_pooling_for_all_seeds_and_both_are_reported(study):
    edit(study, {"finetune": {"poolings": ["token", "mean"]}})
    message = finetune("cl")
    metrics = json.loads(finetune_metrics("cl").read_text())
    best, other = metrics["pooling"], ({"mean", "token"} - {metrics["pooling"]}).pop()
    assert message.endswith(f"pooling {best}") and metrics["protocol"].endswith(
        "chosen on 10% of the training set"
    )
    assert set(metrics["by_pooling"]) == {"mean", "token"}
    assert {key: metrics[key] for key in ("labels", "seeds")} == {
        key: metrics["by_pooling"][best][key] for key in ("labels", "seeds")
    }
    chosen, left = (metrics["by_pooling"][pooling]["validation"]["class"] for pooling in (best, other))
    assert chosen >= left
    assert {path.name for path in finetune_dir("cl", 0).parent.iterdir()} == {
        *("0", "1", f"0-{other}", f"1-{other}")
    }
    for folder, pooling in (
        (finetune_dir("cl", 1), best),
        (finetune_dir("cl", 1).with_name(f"1-{other}"), other),
    ):
        assert set(pd.read_csv(folder / "predictions.csv")["pooling"]) == {pooling}

    # Nothing trains again, neither from the store nor from the out alone.
    trained = finetune_dir("cl", 1).joinpath("encoder.safetensors").stat().st_mtime_ns
    before = {path: path.read_bytes() for path in finetune_dir("cl", 0).parent.rglob("*.*")}
    study.joinpath("scratch/trainings").rename(study / "scratch/away")
    finetune("cl")
    assert before == {path: path.read_bytes() for path in finetune_dir("cl", 0).parent.rglob("*.*")}
    assert finetune_dir("cl", 1).joinpath("encoder.safetensors").stat().st_mtime_ns == trained
    assert not list(study.glob("scratch/trainings/*/lock"))  # none was trained


def test_one_pooling_trains_on_all_images_and_there_is_no_choice(study):
    names = {key: each.fingerprint for key, each in all_finetunings().items()}
    assert {key.pooling for key in names} == {"mean"}
    edit(study, {"finetune": {"validation_fraction": 0.3}})
    assert {key: each.fingerprint for key, each in all_finetunings().items()} == names
    edit(study, {"finetune": {"poolings": ["mean", "token"]}})
    assert not set(names.values()) & {each.fingerprint for each in all_finetunings().values()}


def all_finetunings():
    return finetunings(load_params(stage="finetune", arm="cl"), "cl", manifest=read_manifest())


def test_the_images_that_choose_do_not_train():
    settings = load_params(ROOT / "params.yaml").finetune
    several = settings.model_copy(update={"poolings": ["mean", "token"], "validation_fraction": 0.2})
    validation, fitting = divided(50, settings=several, seed=3)
    assert len(validation) == 10 and sorted([*validation, *fitting]) == list(range(50))
    few = several.model_copy(update={"train_images": 7})
    assert [len(part) for part in divided(50, settings=few, seed=3)] == [10, 7]
    assert np.array_equal(divided(50, settings=few, seed=3)[0], validation)
    alone = settings.model_copy(update={"poolings": ["mean"], "train_images": 500})
    assert [len(part) for part in divided(50, settings=alone, seed=3)] == [0, 50]
    assert not np.array_equal(divided(50, settings=alone, seed=3)[1], divided(50, settings=alone, seed=4)[1])


def test_the_best_pooling_is_that_of_validation_over_label_sets():
    def of(shape, texture):
        return {"labels": {}, "validation": {"shape": shape, "texture": texture}}

    assert best_pooling({"mean": of(0.5, 0.5), "token": of(0.9, 0.2)}) == "token"
    assert best_pooling({"mean": of(0.6, 0.5), "token": of(0.9, 0.1)}) == "mean"
    assert best_pooling({"token": {"labels": {}}}) == "token"


def test_pairs_of_an_odd_number_of_images_are_refused(study):
    edit(study, {"finetune": {"mixup": 0.8, "batch_size": 5}})
    with pytest.raises(StudyError, match=r"finetune\.batch_size 5 gives a process an odd number"):
        finetune("cl")


def test_a_pooling_is_named_once(study):
    edit(study, {"finetune": {"poolings": ["mean", "mean"]}})
    with pytest.raises(ParamsError, match=r"finetune.poolings.*must differ"):
        load_params()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head": "linear_probe", "epochs": 1}, "from a linear probe, all training images, 1 epoch, AdamW"),
        ({"head": "new", "epochs": 3}, "from a new head, all training images, 3 epochs, AdamW"),
        ({"randaugment": "rand-m9-n1"}, "cutmix 0, rand-m9-n1, drop path"),
        ({"randaugment": None}, "cutmix 0, no RandAugment, drop path"),
    ],
)
def test_the_protocol_names_start_and_augmentation_of_fine_tuning(changes, words):
    settings = load_params(ROOT / "params.yaml").finetune.model_copy(update=changes)
    assert words in protocol(settings, pooling="mean")
