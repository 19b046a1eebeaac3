"""How a claim is decided: paired bootstrap over images, t over trainings, Holm's correction over claims."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 10_000
LEVEL = 0.05
ZERO = "0"  # the number, where a claim names what has less
AT_ONCE = 500_000  # draws that are counted in one go: few enough for the processor's cache


class Difference(NamedTuple):
    """Mean paired difference with its 95 % interval, two-sided p-value and standardised size."""

    effect: float
    low: float
    high: float
    p: float
    d_z: float | None = None


class Mean(NamedTuple):
    """A mean, and what it would have been in each resample of its images and replicates."""

    value: float
    resampled: np.ndarray  # (resamples,)
    of_images: np.ndarray  # (n,), mean over replicates
    of_replicates: np.ndarray  # (replicates,), mean over images


def bootstrap(sides: Sequence[np.ndarray], *, seed: int, resamples: int = RESAMPLES) -> list[Mean]:
    """The mean of each side over its replicates and images, resampled.

    sides: (replicates, n) values each, of the same n images
    All sides see the same resampled images; the replicates of each are resampled apart.
    Source: Efron & Tibshirani 1993, ch. 8.
    """
    generator = np.random.default_rng(seed)
    means = resampled_means(np.concatenate(sides), resamples=resamples, generator=generator)
    found, start = [], 0
    for side in sides:
        own = means[:, start : start + len(side)]
        start += len(side)
        which = generator.integers(len(side), size=own.shape)
        resampled = np.take_along_axis(own, which, axis=1).mean(axis=1)
        found.append(Mean(float(np.mean(side)), resampled, np.mean(side, axis=0), np.mean(side, axis=1)))
    return found


def resampled_means(values: np.ndarray, *, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """The mean of each row over its images, as often as they are drawn in each resample.

    values:  (rows, n), every row of the same n images
    returns: (resamples, rows)
    """
    images = values.shape[1]
    means = np.empty((resamples, len(values)))
    step = max(1, AT_ONCE // images)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(images, size=(rows, images), dtype=np.int32)
        drawn += images * np.arange(rows, dtype=np.int32)[:, None]  # each resample counts in bins of its own
        times = np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)
        means[start : start + rows] = times.astype(float) @ values.T.astype(float) / images
    return means


def paired_difference(first: Mean, second: Mean | None = None) -> Difference:
    """How much larger the first is than the second, of one bootstrap; without a second, than 0.

    Percentile interval; the p-value is twice the smaller share of resampled differences on either side of 0,
    never less than 2 in the number of resamples. A bootstrap of two or three replicates knows too little of
    how trainings differ, so neither is taken for surer than `between_trainings` says.
    Source: Efron & Tibshirani 1993, ch. 13 and 15.
    """
    zero = Mean(0.0, np.zeros(1), np.zeros(1), np.zeros(1))
    other = second or zero
    differences = first.resampled - other.resampled
    low, high = np.quantile(differences, [LEVEL / 2, 1 - LEVEL / 2])
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (len(differences) + 1))
    if trainings := between_trainings(first.of_replicates, other.of_replicates):
        low, high, p = min(low, trainings[0]), max(high, trainings[1]), max(p, trainings[2])
    d_z = standardised(first.of_images - other.of_images)
    return Difference(first.value - other.value, float(low), float(high), float(p), d_z)


def between_trainings(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float] | None:
    """Ends of the 95 % interval and two-sided p-value of a difference, from how trainings differ.

    first, second: (replicates,) the mean of each training; a side that was trained once counts as a number
    returns:       Welch's t between the two, or Student's t of the one that varies; None where none does
    Source: Welch 1947; Student 1908.
    """
    sides = [side for side in (first, second) if len(side) > 1 and np.ptp(side) > 0]
    if not sides:
        return None
    squares = [float(np.var(side, ddof=1)) / len(side) for side in sides]
    error = sum(squares) ** 0.5
    degrees = sum(squares) ** 2 / sum(
        square**2 / (len(side) - 1) for square, side in zip(squares, sides, strict=True)
    )
    effect = float(np.mean(first) - np.mean(second))
    reach = float(stats.t.ppf(1 - LEVEL / 2, degrees)) * error
    return effect - reach, effect + reach, float(2 * stats.t.sf(abs(effect) / error, degrees))


def standardised(differences: np.ndarray) -> float | None:
    """Cohen's d_z: the mean of paired differences in units of their standard deviation over the images.

    differences: (n,)
    returns: None where they do not vary
    Source: Cohen 1988, ch. 2; Lakens 2013, eq. 6.
    """
    if len(differences) < 2:
        return None
    spread = float(np.std(differences, ddof=1))
    mean = float(np.mean(differences))
    # Differences that are equal but for rounding have no spread to measure by.
    return mean / spread if spread > 1e-12 * max(1.0, abs(mean)) else None


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

    The claim stands only if every comparison does, so while all are above 0 the least certain one decides, of
    equally certain ones the smallest (intersection-union test, Berger 1982). It falls by a single one below
    0, so otherwise the most certain of those decides, its p-value times the number of comparisons it was
    picked from (Bonferroni).
    """
    below = [item for item in differences if item.effect <= 0]
    if not below:
        return max(differences, key=lambda item: (item.p, -item.effect))
    surest = min(below, key=lambda item: item.p)
    return surest._replace(p=min(1.0, len(differences) * surest.p))


def differences(means: Mapping[str, Mean], *, higher: str, lower: Sequence[str]) -> list[Difference]:
    """The claimed side minus each of the others, of which "0" is the number."""
    first = means[higher]
    return [paired_difference(first, None if side == ZERO else means[side]) for side in lower]
