"""How a claim is decided: paired bootstrap over images, Holm's correction over claims."""

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


def paired_difference(first: np.ndarray, second: np.ndarray, *, seed: int) -> Difference:
    """How much larger the first is than the second, over the same images.

    first, second: (replicates, n) values of the same n images, each side with replicates of its own
    Percentile interval over resampled images and, apart, resampled replicates of each side; the p-value is
    twice the smaller share of resampled means on either side of 0, never less than 2 in the number of
    resamples.
    Source: Efron & Tibshirani 1993, ch. 13 and 15.
    """
    sides = [np.asarray(side, dtype=float) for side in (first, second)]
    images = sides[0].shape[1]
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 100):  # bounded memory
        count = min(100, RESAMPLES - start)
        drawn = generator.integers(images, size=(count, images))
        first_mean, second_mean = (resampled_means(side, drawn, generator) for side in sides)
        means[start : start + count] = first_mean - second_mean
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    tail = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (RESAMPLES + 1))
    return Difference(float(sides[0].mean() - sides[1].mean()), float(low), float(high), float(p))


def resampled_means(values: np.ndarray, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The mean (resamples,) over the drawn images and over as many replicates drawn with replacement.

    values: (replicates, n); images: (resamples, n) drawn indices
    """
    replicates = len(values)
    of_each = values[:, images].mean(axis=2).T  # (resamples, replicates)
    drawn = generator.integers(replicates, size=of_each.shape)
    return np.take_along_axis(of_each, drawn, axis=1).mean(axis=1)


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
