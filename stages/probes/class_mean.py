"""Nearest-class-mean probe, without training or hyperparameters.

An image belongs to the class with the nearest mean of training images. The probe tests whether each class
forms one separate cluster. The linear probe may also rotate and stretch features, and nearest neighbours
allow classes with several clusters. Features are standardised over all training images, without labels.
Source: Mensink et al. 2013, "Distance-Based Image Classification" (nearest class mean); Snell et al. 2017,
"Prototypical Networks", §2.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from stages.probes.contract import Features, Outcome, Probe
from stages.probes.settings import ClassMean


def protocol(settings: ClassMean) -> str:
    """Return the protocol in words, as printed beside every number."""
    scaled = " and scaled to unit length" if settings.unit_length else ""
    return (
        f"nearest class mean, Euclidean distance, features standardised{scaled}; pooling chosen by "
        "leave-one-out on the training set"
    )


def fit_predict(
    train: Features,
    labels: Tensor,
    test: Features,
    *,
    classes: int,
    settings: ClassMean,
    generator: Generator,
) -> Outcome:
    """Predict the test images by each pooling of the features.

    train, test: pooling -> (n, D); labels: (n,) of the training images
    returns:     pooling -> predicted (n,), pooling -> leave-one-out accuracy on training images, no details
    """
    predictions, choice = {}, {}
    for pooling, features in train.items():
        mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
        bank, queries = ((each - mean) / std for each in (features, test[pooling]))
        if settings.unit_length:
            bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
        means, counts = class_means(bank, labels, classes=classes)
        predictions[pooling] = squared_distances(queries, means).argmin(dim=1)
        left_out = distances_left_out(bank, labels, means, counts).argmin(dim=1)
        choice[pooling] = (left_out == labels).sum().item() / len(labels)
    return Outcome(predictions, choice, {})


def class_means(features: Tensor, labels: Tensor, *, classes: int) -> tuple[Tensor, Tensor]:
    """Return the mean of each class and its number of images; a class without images is infinitely far.

    features: (n, D), labels: (n,)
    returns:  (C, D), (C,)
    """
    members = F.one_hot(labels, classes).to(features.dtype)  # (n, C)
    counts = members.sum(dim=0)
    means = members.T @ features / counts[:, None].clamp(min=1)
    return torch.where(counts[:, None] > 0, means, torch.inf), counts


def squared_distances(features: Tensor, means: Tensor) -> Tensor:
    """Return the squared Euclidean distances (n, C) between features (n, D) and means (C, D)."""
    return torch.stack([(features - mean).square().sum(dim=1) for mean in means], dim=1)


def distances_left_out(features: Tensor, labels: Tensor, means: Tensor, counts: Tensor) -> Tensor:
    """Return the squared distances between features and class means that leave out the image itself.

    features: (n, D), labels: (n,), means: (C, D), counts: (C,)
    returns:  (n, C); an image alone in its class is infinitely far from that class

    Without x, the mean of a class of m images is (m μ - x) / (m - 1), and its difference from x is
    m / (m - 1) (x - μ).
    """
    distances = squared_distances(features, means)
    count = counts[labels]
    factor = torch.where(count > 1, count / (count - 1).clamp(min=1), 1.0).square()
    to_class = distances.gather(1, labels[:, None])[:, 0] * factor
    to_class = torch.where(count > 1, to_class, torch.inf)
    return distances.scatter(1, labels[:, None], to_class[:, None])


PROBE = Probe(reads="pooled", varies="pooling", protocol=protocol, fit_predict=fit_predict)
