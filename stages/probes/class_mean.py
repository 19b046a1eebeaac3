"""Nearest class mean: the probe that chooses nothing and trains nothing.

Every class is the mean of its training images, and an image is of the class whose mean is nearest. So it asks
whether classes are already apart as they are, each around one place, where the linear probe may turn and
stretch, and nearest neighbours may have a class in many places. Features are standardised over all training
images, which takes no labels.
Source: Mensink et al. 2013, "Distance-Based Image Classification" (nearest class mean); Snell et al. 2017,
"Prototypical Networks", §2.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from stages.probes.contract import Features, Outcome, Probe
from stages.probes.settings import ClassMean


def protocol(settings: ClassMean) -> str:
    """The protocol in words, to stand beside every number."""
    scaled = " and of unit length" if settings.unit_length else ""
    return (
        f"nearest class mean, Euclidean, features standardised{scaled}; pooling chosen by the training "
        "images, each left out of the mean of its own class"
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
    returns:     pooling -> predicted (n,), pooling -> accuracy on training images left out, nothing else
    """
    predictions, choice = {}, {}
    for pooling, features in train.items():
        mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
        known, asked = ((each - mean) / std for each in (features, test[pooling]))
        if settings.unit_length:
            known, asked = F.normalize(known, dim=1), F.normalize(asked, dim=1)
        means, counts = class_means(known, labels, classes=classes)
        predictions[pooling] = squared_distances(asked, means).argmin(dim=1)
        left_out = distances_left_out(known, labels, means, counts).argmin(dim=1)
        choice[pooling] = (left_out == labels).double().mean().item()
    return Outcome(predictions, choice, {})


def class_means(features: Tensor, labels: Tensor, *, classes: int) -> tuple[Tensor, Tensor]:
    """The mean of each class and how many images it is of; a class without any is infinitely far.

    features: (n, D), labels: (n,)
    returns:  (C, D), (C,)
    """
    members = F.one_hot(labels, classes).to(features.dtype)  # (n, C)
    counts = members.sum(dim=0)
    means = members.T @ features / counts[:, None].clamp(min=1)
    return torch.where(counts[:, None] > 0, means, torch.inf), counts


def squared_distances(features: Tensor, means: Tensor) -> Tensor:
    """Squared Euclidean distance of each feature (n, D) from each mean (C, D): (n, C)."""
    return torch.stack([(features - mean).square().sum(dim=1) for mean in means], dim=1)


def distances_left_out(features: Tensor, labels: Tensor, means: Tensor, counts: Tensor) -> Tensor:
    """Squared distances from the means as they would be without the image itself.

    features: (n, D), labels: (n,), means: (C, D), counts: (C,)
    returns:  (n, C); an image alone in its class is infinitely far from it

    Without x, the mean of the m images of its class is (m μ - x) / (m - 1), so x is m / (m - 1) (x - μ) away.
    """
    distances = squared_distances(features, means)
    count = counts[labels]
    factor = torch.where(count > 1, count / (count - 1).clamp(min=1), 1.0).square()
    of_own = distances.gather(1, labels[:, None])[:, 0] * factor
    of_own = torch.where(count > 1, of_own, torch.inf)
    return distances.scatter(1, labels[:, None], of_own[:, None])


PROBE = Probe(reads="pooled", varies="pooling", protocol=protocol, fit_predict=fit_predict)
