"""How a claim is decided: paired bootstrap over images, Holm's correction over claims."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.05


class Difference(NamedTuple):
    """Mean paired difference with its 95 % bootstrap interval and two-sided p-value."""

    effect: float
    low: float
    high: float
    p: float


class Mean(NamedTuple):
    """A mean, and what it would have been in each resample of its images and replicates."""

    value: float
    resampled: np.ndarray  # (RESAMPLES,)


def bootstrap(sides: Sequence[np.ndarray], *, seed: int) -> list[Mean]:
    """The mean of each side over its replicates and images, resampled.

    sides: (replicates, n) values each, of the same n images
    All sides see the same resampled images; the replicates of each are resampled apart.
    Source: Efron & Tibshirani 1993, ch. 8.
    """
    images = np.asarray(sides[0]).shape[1]
    values = np.concatenate(sides).astype(float)  # (all replicates, n)
    generator = np.random.default_rng(seed)
    means = np.empty((RESAMPLES, len(values)))
    for resample in range(RESAMPLES):
        drawn = generator.integers(images, size=images, dtype=np.int32)
        means[resample] = values @ np.bincount(drawn, minlength=images) / images
    found, start = [], 0
    for side in sides:
        own = means[:, start : start + len(side)]
        start += len(side)
        which = generator.integers(len(side), size=own.shape)
        resampled = np.take_along_axis(own, which, axis=1).mean(axis=1)
        found.append(Mean(float(np.mean(side)), resampled))
    return found


def paired_difference(first: Mean, second: Mean) -> Difference:
    """How much larger the first is than the second, of one bootstrap.

    Percentile interval; the p-value is twice the smaller share of resampled differences on either side of 0,
    never less than 2 in the number of resamples.
    Source: Efron & Tibshirani 1993, ch. 13 and 15.
    """
    differences = first.resampled - second.resampled
    low, high = np.quantile(differences, [LEVEL / 2, 1 - LEVEL / 2])
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (RESAMPLES + 1))
    return Difference(first.value - second.value, float(low), float(high), float(p))


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values that keep the chance of any false finding below the level.

    Source: Holm 1979.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return [float(value) for value in adjusted]


def verdict(differences: list[Difference], adjusted: float) -> str:
    """supported, contradicted or undecided.

    differences: the claimed side minus each of the others; adjusted: p-value after correction
    Supported if all are above 0 and contradicted if one is below, each beyond chance after correction.
    """
    if adjusted >= LEVEL:
        return "undecided"
    return "supported" if all(item.effect > 0 for item in differences) else "contradicted"


def joint(differences: list[Difference]) -> Difference:
    """The difference that decides a claim over several others.

    The claim stands only if every comparison does, so while all are above 0 the least certain one decides
    (intersection-union test, Berger 1982). It falls by a single one below 0, so otherwise the most certain of
    those decides, its p-value times the number of comparisons it was picked from (Bonferroni).
    """
    below = [item for item in differences if item.effect <= 0]
    if not below:
        return max(differences, key=lambda item: item.p)
    surest = min(below, key=lambda item: item.p)
    return surest._replace(p=min(1.0, len(differences) * surest.p))
