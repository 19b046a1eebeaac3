"""Estimate a difference between trained encoders, with the training as the unit of replication.

All functions are pure: they take one value per training and image. `families.py` corrects for many claims.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05
REPLICATED = 3  # trainings per side that a claim about methods needs
METHODS = "methods"
ENCODERS = "these encoders"

SUPPORTED, CONTRADICTED, NEGLIGIBLE, UNDECIDED = "supported", "contradicted", "negligible", "undecided"
# Verdicts with fewer trainings: they describe these encoders and support no claim about methods.
IN_ENCODERS = {SUPPORTED: "higher", CONTRADICTED: "lower", NEGLIGIBLE: "no difference", UNDECIDED: UNDECIDED}


class Side(NamedTuple):
    """One side of a contrast: its weight, and its values (trainings, images)."""

    weight: float
    values: np.ndarray


class Estimate(NamedTuple):
    """A contrast with its standard error and the components of that error.

    trainings: variance component of each side, from differences between its trainings
    images:    variance component from differences between held-out images
    size:      Cohen's d: the effect over the pooled standard deviation between trainings; None if that is 0
    size_images: Cohen's d_z: the mean difference over its standard deviation between images
    """

    effect: float
    se: float
    df: float
    trainings: tuple[float, ...]
    images: float
    scope: str
    size: float | None
    size_images: float | None

    def bounds(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the ends of the two-sided interval that misses with probability `level`."""
        reach = float(stats.t.ppf(1 - level / 2, self.df)) * self.se if self.se else 0.0
        return self.effect - reach, self.effect + reach

    def p_above(self, value: float) -> float:
        """Return the one-sided p-value of the hypothesis that the effect is at most `value`."""
        if not self.se:
            return 0.0 if self.effect > value else 1.0
        return float(stats.t.sf((self.effect - value) / self.se, self.df))

    def p_below(self, value: float) -> float:
        """Return the one-sided p-value of the hypothesis that the effect is at least `value`."""
        return self._replace(effect=-self.effect).p_above(-value)

    @property
    def p(self) -> float:
        """Return the two-sided p-value of no effect."""
        return min(1.0, 2 * min(self.p_above(0.0), self.p_below(0.0)))


def contrast(sides: Sequence[Side]) -> Estimate:
    """Estimate a weighted sum of the sides' means over trainings and images.

    sides: at least one; (trainings, images) each, of the same images

    SE² = Σ w² s²/R + s_img²/n. Here R is the number of trainings of a side, s² the variance between their
    means, and s_img² the variance, between images, of the contrast averaged over trainings. Degrees of
    freedom follow Welch–Satterthwaite. If only some sides have several trainings, their pooled variance
    serves for all sides, because one training does not show its variance. Training-by-image interaction
    enters both components, so the interval is, if anything, too wide.
    Source: Welch 1947; Satterthwaite 1946.
    """
    means = [side.values.mean(axis=1) for side in sides]
    counts = np.array([len(part) for part in means])
    weights = np.array([side.weight for side in sides])
    effect = float(sum(weight * part.mean() for weight, part in zip(weights, means, strict=True)))
    by_image = sum(side.weight * side.values.mean(axis=0) for side in sides)
    images = len(by_image)
    image_part = float(np.var(by_image, ddof=1)) / images if images > 1 else 0.0
    squares = np.array([float(((part - part.mean()) ** 2).sum()) for part in means])
    pooled = float(squares.sum() / max(1, (counts - 1).sum()))
    if (counts > 1).all():
        parts = weights**2 * squares / (counts - 1) / counts
        terms = [*zip(parts, counts - 1, strict=True)]
    else:  # one variance for all sides; 0 without any replicate
        parts = weights**2 * pooled / counts
        terms = [(parts.sum(), max(1, (counts - 1).sum()))]
    terms.append((image_part, max(1, images - 1)))
    variance = float(sum(part for part, _ in terms))
    spread = sum(part**2 / free for part, free in terms)
    return Estimate(
        effect=effect,
        se=variance**0.5,
        df=float(variance**2 / spread) if spread > 0 else float(max(1, images - 1)),
        trainings=tuple(float(part) for part in parts),
        images=image_part,
        scope=METHODS if (counts >= REPLICATED).all() else ENCODERS,
        size=_standardised(effect, pooled**0.5),
        size_images=_standardised(effect, float(np.std(by_image, ddof=1)) if images > 1 else 0.0),
    )


def difference(first: np.ndarray, second: np.ndarray | None = None) -> Estimate:
    """Estimate the mean of the first side minus that of the second; without a second side, minus 0.

    first, second: (trainings, images) each, of the same images
    """
    sides = [Side(1.0, first)]
    return contrast(sides if second is None else [*sides, Side(-1.0, second)])


class Joint(NamedTuple):
    """One side against each of several others: the smallest difference decides.

    Source: Berger 1982 (intersection-union test) for its lower bound, Bonferroni for its upper one.
    """

    estimates: tuple[Estimate, ...]

    @property
    def weakest(self) -> Estimate:
        """Return the smallest difference."""
        return min(self.estimates, key=lambda item: item.effect)

    @property
    def scope(self) -> str:
        """Return METHODS if every comparison is about methods, else ENCODERS."""
        return METHODS if all(item.scope == METHODS for item in self.estimates) else ENCODERS

    def bounds(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the ends of an interval of the smallest difference."""
        low = min(item.bounds(level)[0] for item in self.estimates)
        return low, min(item.bounds(level / len(self.estimates))[1] for item in self.estimates)

    def p_above(self, value: float) -> float:
        """Return the one-sided p-value of the hypothesis that the smallest difference is at most `value`."""
        return max(item.p_above(value) for item in self.estimates)

    def p_below(self, value: float) -> float:
        """Return the one-sided p-value of the hypothesis that the smallest difference is at least `value`."""
        return min(1.0, len(self.estimates) * min(item.p_below(value) for item in self.estimates))

    @property
    def p(self) -> float:
        """Return the smallest level whose interval excludes 0."""
        return min(1.0, 2 * min(self.p_above(0.0), self.p_below(0.0)))

    def p_verdicts(self, margin: float) -> dict[str, float]:
        """Return the smallest level whose interval gives each verdict.

        supported: the lower bound is above the margin; contradicted: the upper bound is below minus the
        margin; negligible: both bounds are within the margin (Schuirmann 1987).
        """
        one_sided = {
            SUPPORTED: self.p_above(margin),
            CONTRADICTED: self.p_below(-margin),
            NEGLIGIBLE: max(self.p_above(-margin), self.p_below(margin)),
        }
        return {name: min(1.0, 2 * p) for name, p in one_sided.items()}

    def p_decided(self, margin: float) -> float:
        """Return the smallest level whose interval gives any verdict."""
        return min(self.p_verdicts(margin).values())

    def verdict(self, margin: float, *, level: float = LEVEL) -> str:
        """Return supported, contradicted, negligible or undecided, by the interval of the given level."""
        low, high = self.bounds(level)
        if low > margin:
            return SUPPORTED
        if high < -margin:
            return CONTRADICTED
        return NEGLIGIBLE if -margin < low and high < margin else UNDECIDED


def in_words(verdict: str, *, scope: str) -> str:
    """Return the name of a verdict, which depends on whether it is about methods or these encoders."""
    return verdict if scope == METHODS else IN_ENCODERS[verdict]


def correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the correlation between the trainings of two sides over shared seeds.

    first, second: (trainings,) means, in the order of the seeds that both sides have
    returns: None for fewer than three seeds or without variance
    """
    if len(first) < REPLICATED or not np.ptp(first) or not np.ptp(second):
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _standardised(effect: float, spread: float) -> float | None:
    # A spread at the level of rounding errors counts as none.
    return effect / spread if spread > 1e-12 * max(1.0, abs(effect)) else None
