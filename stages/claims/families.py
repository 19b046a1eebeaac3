"""Correction for multiple claims: adjusted p-values and the level of each claim's interval, by family."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages.claims.inference import LEVEL


class Corrected(NamedTuple):
    """The adjusted p-value of a claim, and the level of the interval that decides it."""

    p: float
    level: float


def holm(p_values: Sequence[float], *, level: float = LEVEL) -> list[Corrected]:
    """Control the probability of any false verdict in a family.

    The interval of level / (m - k + 1) decides the claim with the k-th smallest of m p-values, as long as all
    claims with smaller p-values are decided. The first undecided claim fixes the level of all that follow.
    Source: Holm 1979.
    """
    count = len(p_values)
    adjusted = np.empty(count)
    levels = np.empty(count)
    running, previous, step = 0.0, 0.0, level / max(1, count)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        if previous < level:
            step = level / (count - rank)
        adjusted[index], levels[index], previous = running, step, running
    return [Corrected(float(p), float(one)) for p, one in zip(adjusted, levels, strict=True)]


def benjamini_hochberg(p_values: Sequence[float], *, level: float = LEVEL) -> list[Corrected]:
    """Control the expected share of false verdicts among the verdicts of a family.

    All intervals have the level of the last decided claim.
    Source: Benjamini & Hochberg 1995; Benjamini & Yekutieli 2005 for the intervals.
    """
    count = len(p_values)
    adjusted = np.empty(count)
    running = 1.0
    for rank, index in reversed([*enumerate(np.argsort(p_values, kind="stable"), start=1)]):
        running = min(running, count / rank * p_values[index])
        adjusted[index] = running
    decided = max(1, int((adjusted < level).sum()))
    return [Corrected(float(p), level * decided / max(1, count)) for p in adjusted]


def is_fragile(agreement: float) -> bool:
    """Return whether fewer than two thirds of the analysis choices share a verdict."""
    return agreement < 2 / 3
