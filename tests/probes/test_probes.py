"""Probes against scikit-learn and closed forms."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from stages.probes import accuracy, knn, linear
from stages.study.params import Knn, Linear


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 8)) * 1.2
    labels = rng.integers(4, size=900)
    features = (centres[labels] + rng.normal(size=(900, 8))).astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(labels)


def test_votes_are_those_of_scikit_learn(blobs):
    features, labels = blobs
    ours = knn.vote(features[:600], labels[:600], features[600:], k=7, temperature=0.07, classes=4)
    model = KNeighborsClassifier(7, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
    theirs = model.fit(features[:600], labels[:600]).predict(features[600:])
    assert (ours.numpy() == theirs).all()


def test_a_query_left_out_does_not_vote_for_itself():
    features = torch.eye(4)
    labels = torch.tensor([0, 1, 1, 1])
    own = knn.vote(features, labels, features[:1], k=1, temperature=0.1, classes=2)
    apart = knn.vote(
        features, labels, features[:1], k=3, temperature=0.1, classes=2, left_out=torch.tensor([0])
    )
    assert own.item() == 0 and apart.item() == 1


def test_more_neighbours_than_images_are_all_of_them():
    result = knn.vote(
        torch.eye(3), torch.tensor([0, 1, 1]), torch.ones(1, 3), k=50, temperature=1.0, classes=2
    )
    assert result.item() == 1


def test_the_linear_probe_reaches_what_scikit_learn_reaches(blobs):
    features, labels = blobs
    settings = Linear(epochs=60, batch_size=128, learning_rates=[0.001, 0.1, 1.0], validation_fraction=0.1)
    predictions, choice, told = linear.fit_predict(
        {"mean": features[:600]}, labels[:600], {"mean": features[600:]},
        classes=4, settings=settings, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    theirs = (
        LogisticRegression(C=100, max_iter=500)
        .fit(features[:600], labels[:600])
        .score(features[600:], labels[600:])
    )
    ours = (predictions["mean"] == labels[600:]).float().mean().item()
    assert ours == pytest.approx(theirs, abs=0.03)
    assert choice["mean"] == pytest.approx(theirs, abs=0.12)
    assert told["learning_rate_mean"] in settings.learning_rates


def test_heads_trained_together_are_those_trained_alone(blobs):
    features, labels = blobs
    together = linear.train_heads(
        features, labels, classes=4, rates=torch.tensor([0.01, 0.3]), epochs=3, batch_size=100,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    head = torch.nn.Linear(8, 4)
    torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.3, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=27)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for batch in torch.randperm(900, generator=generator).split(100):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(features[batch]), labels[batch]).backward()
            optimizer.step()
            scheduler.step()
    # Momentum on a decaying rate: torch scales the whole velocity by the current rate, as we do.
    torch.testing.assert_close(together[1, :-1].T, head.weight, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(together[1, -1], head.bias, rtol=1e-3, atol=1e-4)


def test_wilson_interval():
    # Wilson 1927 for 10 of 20, z = 1.96
    assert accuracy.wilson_interval(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert accuracy.wilson_interval(0, 10)[0] == 0 and accuracy.wilson_interval(10, 10)[1] == pytest.approx(1)


def test_summary_counts():
    summary = accuracy.summarize(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]), classes=4)
    assert summary["accuracy"] == 0.75 and summary["images"] == 4 and summary["chance"] == 0.25
    assert summary["low"] < 0.75 < summary["high"]


def test_protocols_say_what_was_done():
    assert "20 nearest" in knn.protocol(Knn(k=20, temperature=0.07))
    assert "SGD 9 epochs" in linear.protocol(
        Linear(epochs=9, batch_size=8, learning_rates=[1.0], validation_fraction=0.1)
    )
