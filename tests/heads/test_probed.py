"""The head that fine-tuning starts from."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.heads.classifier import Classifier
from stages.heads.probed import fit, pooled, start_from_probe
from stages.study.params import load_params
from stages.study.seeds import generator
from tests.project import ROOT

VIT = Vit(width=32, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
LABELS = {"upper": ["dark", "bright"], "lower": ["dark", "bright"]}
MANIFEST = SimpleNamespace(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), image_size=16, labels=LABELS)


@pytest.fixture
def split():
    """Images whose halves are dark or bright, each of its own."""
    random = np.random.default_rng(0)
    labels = {name: random.integers(2, size=200) for name in LABELS}
    images = random.integers(0, 60, (200, 3, 16, 16)).astype(np.uint8)
    images[:, :, :8] += (150 * labels["upper"]).astype(np.uint8)[:, None, None, None]
    images[:, :, 8:] += (150 * labels["lower"]).astype(np.uint8)[:, None, None, None]
    return SimpleNamespace(images=np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels=labels)


def classifier(pooling="mean"):
    settings = load_params(ROOT / "params.yaml").finetune
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    return Classifier(
        encoder, classes=[2, 2], settings=settings, manifest=MANIFEST, seed=0, pooling=pooling
    ).eval()


@pytest.mark.parametrize("pooling", ["mean", "token"])
def test_the_head_reads_what_is_pooled(split, pooling):
    task = classifier(pooling)
    features = pooled(task, split, np.arange(7), MANIFEST, batch_size=3)
    images = (torch.from_numpy(split.images[:7]).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.no_grad():
        torch.testing.assert_close(task.encoder.head(features), task.encoder(images))


def test_fine_tuning_starts_with_the_accuracy_of_the_probe(split):
    task = classifier()
    before = [value.clone() for value in task.encoder.blocks.parameters()]
    fitting = np.arange(20, 200)
    start_from_probe(task, split, fitting, MANIFEST, batch_size=64, seed=0)
    with torch.no_grad():
        scores = task.encoder.head(pooled(task, split, np.arange(20), MANIFEST, batch_size=64))
    for name, answers in zip(LABELS, scores.split([2, 2], dim=1), strict=True):
        assert (answers.argmax(dim=1).numpy() == split.labels[name][:20]).mean() > 0.8
    # The encoder has not moved.
    assert all(torch.equal(a, b) for a, b in zip(before, task.encoder.blocks.parameters(), strict=True))


def test_a_probe_is_the_same_for_the_same_seed_and_ignores_the_scale_of_features():
    features, labels = torch.randn(100, 8, generator=generator(0, "x")), torch.arange(100) % 3
    first = fit(features, labels, classes=3, draws=generator(1, "probe"))
    again = fit(features, labels, classes=3, draws=generator(1, "probe"))
    scaled = fit(1000 * features + 5, labels, classes=3, draws=generator(1, "probe"))
    assert torch.equal(first.weights, again.weights)
    torch.testing.assert_close(first(features), scaled(1000 * features + 5), rtol=1e-2, atol=1e-2)
