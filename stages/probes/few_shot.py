"""Few-shot linear probe: logistic regression on a small part of the training labels.

Features are the class token and the mean patch token, concatenated, because no labels can be spared to choose
one. They are standardised over all training images, without labels, and scaled to unit length.
Source: Assran et al. 2022 (MSN), §4 and the public logistic_eval.py: L2-regularised logistic regression of
fixed strength on normalised features, there the class token.
"""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Generator, Tensor

from stages.probes.contract import Features, Outcome, Probe
from stages.probes.settings import FewShot


def protocol(settings: FewShot) -> str:
    """Return the protocol in words, as printed beside every number."""
    shares = ", ".join(f"{100 * share:g} %" for share in settings.shares)
    return (
        f"logistic regression with {shares} of the training labels (the same images for every arm), L2 "
        f"{settings.l2:g}, on concatenated class and mean patch token, standardised, scaled to unit length"
    )


def fit_predict(
    train: Features,
    labels: Tensor,
    test: Features,
    *,
    classes: int,
    settings: FewShot,
    generator: Generator,
) -> Outcome:
    """Predict the test images from each share of the training labels.

    train, test: pooling -> (n, D); labels: (n,) of the training images
    returns:     share -> predicted (n,), share -> share (the largest is reported), labels of each share
    """
    fitted = torch.cat([train[pooling] for pooling in sorted(train)], dim=1)
    queries = torch.cat([test[pooling] for pooling in sorted(train)], dim=1)
    mean, std = fitted.mean(dim=0), fitted.std(dim=0).clamp(min=1e-6)
    # The regression runs on the CPU, and Apple GPUs have no float64.
    fitted, queries = (F.normalize((features - mean) / std, dim=1).cpu() for features in (fitted, queries))
    device, labels = labels.device, labels.cpu()
    order = torch.randperm(len(labels), generator=generator)
    predictions, choice = {}, {}
    details: dict[str, float] = {}
    for share in settings.shares:
        few = labelled(labels, order, share=share)
        weights = logistic_regression(fitted[few], labels[few], classes=classes, l2=settings.l2)
        name = f"{share:g}"
        predictions[name] = (queries.double() @ weights[:-1] + weights[-1]).argmax(dim=1).to(device)
        choice[name] = share
        details[f"images_{name}"] = len(few)
    return Outcome(predictions, choice, details)


def labelled(labels: Tensor, order: Tensor, *, share: float) -> Tensor:
    """Return the images that keep their labels: the first ones of each class in a random order.

    labels:  (n,)
    order:   (n,) a permutation of the images
    returns: (m,) indices, the share of each class but at least one image; larger shares contain smaller ones
    """
    ranked = labels[order]
    parts = []
    for label in labels.unique():
        members = order[ranked == label]
        parts.append(members[: max(1, round(share * len(members)))])
    return torch.cat(parts).sort().values


def logistic_regression(features: Tensor, labels: Tensor, *, classes: int, l2: float) -> Tensor:
    """Return the weights that minimise the sum of cross-entropies plus l2 / 2 times their squares.

    features: (n, D), labels: (n,)
    returns:  (D+1, C), float64, with the unpenalised bias in the last row; it is -inf for absent classes
    """
    present = labels.unique()
    weights = torch.full((features.shape[1] + 1, classes), 0.0, dtype=torch.float64, device=features.device)
    weights[-1] = -torch.inf  # absent classes are never predicted
    if len(present) == 1:
        weights[-1, present] = 0.0
        return weights
    # For two classes, scikit-learn fits one row: the difference between two rows of opposite sign.
    two = len(present) == 2
    model = LogisticRegression(C=(2 if two else 1) / l2, solver="newton-cg", tol=1e-8, max_iter=1000)
    with warnings.catch_warnings():
        # One image per class is a legitimate share, not a regression problem.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(features.double().cpu().numpy(), labels.cpu().numpy())
    rows = np.concatenate([model.coef_, model.intercept_[:, None]], axis=1)  # (C, D+1)
    rows = np.concatenate([-rows / 2, rows / 2]) if two else rows
    weights[:, present] = torch.from_numpy(rows.T).to(weights)
    return weights


PROBE = Probe(reads="pooled", varies="share", protocol=protocol, fit_predict=fit_predict)
