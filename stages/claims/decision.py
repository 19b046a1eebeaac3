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

    first, second: (n,) values of the same images
    Percentile interval over resampled images; the p-value is twice the smaller share of resampled means on
    either side of 0, never less than 2 in the number of resamples.
    Source: Efron & Tibshirani 1993, ch. 13 and 15.
    """
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 500):  # bounded memory
        chosen = generator.integers(len(difference), size=(min(500, RESAMPLES - start), len(difference)))
        means[start : start + len(chosen)] = difference[chosen].mean(axis=1)
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    tail = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (RESAMPLES + 1))
    return Difference(float(difference.mean()), float(low), float(high), float(p))


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
    """The smallest of several differences, with the p-value of them all.

    A claim over all others stands only if each comparison does, so its p-value is the largest of theirs
    (intersection-union test, Berger 1982); it falls by a single one below 0, whose p-value then decides.
    """
    smallest = min(differences, key=lambda item: item.effect)
    return smallest._replace(p=max(item.p for item in differences)) if smallest.effect > 0 else smallest
