"""The nearest class mean against loops and scikit-learn."""

import numpy as np
import torch
from sklearn.neighbors import NearestCentroid

from stages.probes.class_mean import PROBE, class_means, distances_left_out
from stages.probes.settings import ClassMean


def clouds(images=90, classes=3, width=8, apart=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % classes
    centres = apart * torch.randn(classes, width, generator=torch.Generator().manual_seed(7))
    return centres[labels] + torch.randn(images, width, generator=generator), labels


def predict(train, labels, test, *, classes=3, unit_length=False):
    return PROBE.fit_predict(
        train, labels, test, classes=classes, settings=ClassMean(unit_length=unit_length), generator=None
    )


def test_it_is_the_nearest_centroid_of_scikit_learn():
    train, labels = clouds()
    test, _ = clouds(seed=1)
    mean, std = train.mean(dim=0), train.std(dim=0)
    theirs = NearestCentroid().fit(((train - mean) / std).numpy(), labels.numpy())
    outcome = predict({"mean": train}, labels, {"mean": test})
    np.testing.assert_array_equal(outcome.predictions["mean"], theirs.predict(((test - mean) / std).numpy()))


def test_a_mean_without_the_image_is_that_of_the_others():
    features, labels = clouds(images=10)
    labels[labels == 2] = 0
    labels[3] = 2  # alone
    means, counts = class_means(features, labels, classes=4)  # nobody in the last
    distances = distances_left_out(features, labels, means, counts)
    for n, feature in enumerate(features):
        for label in range(4):
            others = [features[m] for m in range(10) if labels[m] == label and m != n]
            expected = (
                (feature - torch.stack(others).mean(0)).square().sum() if others else torch.tensor(np.inf)
            )
            torch.testing.assert_close(distances[n, label], expected)


def test_clear_classes_are_told_and_noise_is_left_to_the_better_pooling():
    train, labels = clouds(apart=10.0)
    test, truth = clouds(apart=10.0, seed=1)
    noise = torch.randn(90, 8, generator=torch.Generator().manual_seed(3))
    for unit_length in (False, True):
        outcome = predict(
            {"cls": noise, "mean": train}, labels, {"cls": noise, "mean": test}, unit_length=unit_length
        )
        assert (outcome.predictions["mean"] == truth).all() and outcome.choice["mean"] == 1.0
        assert outcome.choice["cls"] < 0.7
        assert ("unit length" in PROBE.protocol(ClassMean(unit_length=unit_length))) == unit_length


def test_a_channel_that_never_changes_is_no_matter():
    train, labels = clouds()
    same = torch.cat([train, torch.full((90, 1), 5.0)], dim=1)
    expected = predict({"mean": train}, labels, {"mean": train}).predictions["mean"]
    assert torch.equal(predict({"mean": same}, labels, {"mean": same}).predictions["mean"], expected)
