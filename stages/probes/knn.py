"""Weighted nearest-neighbour probe on frozen features.

Source: Wu et al. 2018, §3.4, as used by DINO (Caron et al. 2021, App. F): each of the k neighbours by cosine
similarity votes with weight exp(similarity / τ).
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from stages.probes.contract import Features, Outcome, Probe
from stages.probes.settings import Knn


def protocol(settings: Knn) -> str:
    """Return the protocol in words, as printed beside every number."""
    return (
        f"{settings.k} nearest neighbours by cosine similarity s, weight exp(s/{settings.temperature:g}), "
        "pooling chosen by leave-one-out on the training set"
    )


def fit_predict(
    train: Features,
    labels: Tensor,
    test: Features,
    *,
    classes: int,
    settings: Knn,
    generator: Generator,
) -> Outcome:
    """Predict the test images by each pooling of the features.

    train, test: pooling -> (n, D); labels: (n,) of the training images
    returns:     pooling -> predicted (n,), pooling -> leave-one-out accuracy, no details
    """
    predictions, choice = {}, {}
    sample = torch.randperm(len(labels), generator=generator)[:2000].to(labels.device)
    for pooling, features in train.items():
        predictions[pooling] = vote(
            features, labels, test[pooling], k=settings.k, temperature=settings.temperature, classes=classes
        )
        left_out = vote(
            features,
            labels,
            features[sample],
            k=settings.k,
            temperature=settings.temperature,
            classes=classes,
            left_out=sample,
        )
        choice[pooling] = (left_out == labels[sample]).float().mean().item()
    return Outcome(predictions, choice, {})


def vote(
    features: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    k: int,
    temperature: float,
    classes: int,
    left_out: Tensor | None = None,
) -> Tensor:
    """Return the class with the most votes for each query; arguments as for `votes`.

    returns: (m,)
    """
    counts = votes(
        features, labels, queries, k=k, temperature=temperature, classes=classes, left_out=left_out
    )
    return counts.argmax(dim=1)


def votes(
    features: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    k: int,
    temperature: float,
    classes: int,
    left_out: Tensor | None = None,
) -> Tensor:
    """Return the votes of the nearest features for each class.

    features: (n, D), labels: (n,), queries: (m, D)
    left_out: (m,) index of the feature that must not vote for a query: the query itself
    returns:  (m, C); the nearest feature has weight 1
    """
    bank = F.normalize(features, dim=1)
    k = min(k, len(bank) - (left_out is not None))
    parts = []
    for start in range(0, len(queries), 1024):
        similarity = F.normalize(queries[start : start + 1024], dim=1) @ bank.T  # (m, n)
        if left_out is not None:
            similarity.scatter_(1, left_out[start : start + 1024, None], -torch.inf)
        nearest, index = similarity.topk(k, dim=1)
        cast = torch.zeros(len(nearest), classes, device=bank.device, dtype=nearest.dtype)
        # Subtracting the largest similarity scales all votes of a query equally and avoids overflow.
        cast.scatter_add_(1, labels[index], ((nearest - nearest[:, :1]) / temperature).exp())
        parts.append(cast)
    return torch.cat(parts)


PROBE = Probe(reads="pooled", varies="pooling", protocol=protocol, fit_predict=fit_predict)
