"""Student's t without scipy, whose import would delay every report and training."""

import math
from functools import cache

import numpy as np

LEVEL = 0.95


def t_reach(by_seed: np.ndarray) -> np.ndarray:
    """Return half of Student's t-interval of a mean over seeds.

    by_seed: (R, ...), R of at least 2
    Source: Student 1908.
    """
    count = len(by_seed)
    return np.asarray(t_quantile(count - 1) * by_seed.std(axis=0, ddof=1) / np.sqrt(count))


@cache
def t_quantile(degrees: int, *, level: float = LEVEL) -> float:
    """Return the value that |T| exceeds with probability 1 - level, for T of Student's distribution.

    Source: Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _t_inside(angle, degrees) < level else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def _t_inside(angle: float, degrees: int) -> float:
    """Return the probability that |T| is below sqrt(degrees) * tan(angle)."""
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for power in range(2 + odd, degrees - 1, 2):
        term *= math.cos(angle) ** 2 * (power - 1) / power
        total += term
    share = math.sin(angle) * total
    return 2 / math.pi * (angle + share) if odd else share
