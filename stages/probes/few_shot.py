"""Linear probe with few labels: logistic regression on a small part of the training set.

Class token and mean of the patch tokens stand side by side, since there are no labels to spare for choosing
one. They are standardised over all training images, which takes no labels, and scaled to unit length.
Source: Assran et al. 2022 (MSN), §4 and the public logistic_eval.py: L2-regularised logistic regression on
normalised features, with a fixed strength; their features are the class token.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Generator, Tensor

from stages.probes.contract import Features, Outcome, Probe
from stages.probes.settings import FewShot


def protocol(settings: FewShot) -> str:
    """The protocol in words, to stand beside every number."""
    shares = ", ".join(f"{100 * share:g} %" for share in settings.shares)
    return (
        f"logistic regression on {shares} of the training labels (the same images for every arm), L2 "
        f"{settings.l2:g}, on class token and mean patch token together, standardised and of unit length"
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
    returns:     share -> predicted (n,), share -> itself, so that the largest is the one reported, and how
                 many labels each share is
    """
    known = torch.cat([train[pooling] for pooling in sorted(train)], dim=1)
    asked = torch.cat([test[pooling] for pooling in sorted(train)], dim=1)
    mean, std = known.mean(dim=0), known.std(dim=0).clamp(min=1e-6)
    known, asked = (F.normalize((features - mean) / std, dim=1) for features in (known, asked))
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    predictions, choice = {}, {}
    told: dict[str, float] = {}
    for share in settings.shares:
        few = labelled(labels, order, share=share)
        weights = logistic_regression(known[few], labels[few], classes=classes, l2=settings.l2)
        name = f"{share:g}"
        predictions[name] = (asked.double() @ weights[:-1] + weights[-1]).argmax(dim=1)
        choice[name] = share
        told[f"images_{name}"] = len(few)
    return Outcome(predictions, choice, told)


def labelled(labels: Tensor, order: Tensor, *, share: float) -> Tensor:
    """The images whose labels are given: the first of each class in a random order.

    labels:  (n,); order: (n,) a permutation of the images
    returns: (m,) indices, the share of each class but at least one; a larger share holds all of a smaller
    """
    ranked = labels[order]
    kept = []
    for label in labels.unique():
        members = order[ranked == label]
        kept.append(members[: max(1, round(share * len(members)))])
    return torch.cat(kept).sort().values


def logistic_regression(features: Tensor, labels: Tensor, *, classes: int, l2: float) -> Tensor:
    """The weights with the least sum of cross-entropies and l2 / 2 times their squares, in float64.

    features: (n, D), labels: (n,)
    returns:  (D+1, C), the bias, which is not penalised, in the last row; -inf for a class without a label
    """
    known = labels.unique()
    weights = torch.full((features.shape[1] + 1, classes), 0.0, dtype=torch.float64, device=features.device)
    weights[-1] = -torch.inf  # of a class without a label, which is never predicted
    if len(known) == 1:
        weights[-1, known] = 0.0
        return weights
    # Of two classes scikit-learn fits one row, the difference of two that are each other's negative.
    two = len(known) == 2
    model = LogisticRegression(C=(2 if two else 1) / l2, solver="newton-cg", tol=1e-8, max_iter=1000)
    model.fit(features.double().cpu().numpy(), labels.cpu().numpy())
    rows = np.concatenate([model.coef_, model.intercept_[:, None]], axis=1)  # (C, D+1)
    rows = np.concatenate([-rows / 2, rows / 2]) if two else rows
    weights[:, known] = torch.from_numpy(rows.T).to(weights)
    return weights


PROBE = Probe(reads="pooled", varies="share", protocol=protocol, fit_predict=fit_predict)
