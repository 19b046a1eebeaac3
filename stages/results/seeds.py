"""The rule for seeds: the mean over trainings, with a 95 % interval.

With two or more seeds, the interval is Student's t over seeds, which covers the variation between trainings.
A single training does not show this variation. Its interval is a bootstrap over images, and figures must say
"one training".
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.results.bootstrap import bootstrap_interval
from stages.results.student import LEVEL, t_reach

PREFIX = "seed_"  # columns of single trainings start with this


class Estimate(NamedTuple):
    """K means over the trainings of one arm, with 95 % intervals and the values of each training."""

    mean: np.ndarray  # (K,)
    low: np.ndarray  # (K,)
    high: np.ndarray  # (K,)
    by_seed: np.ndarray  # (R, K)


def estimate(values: np.ndarray, *, seed: int = 0) -> Estimate:
    """Estimate the means over the trainings of one arm from values per image.

    Args:
        values: (R, n, K), K quantities of n images in R trainings.
        seed: of the bootstrap, which only a single training needs.

    Raises: ValueError if the shape is wrong or a value is not finite.
    """
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"values must be (seeds, images, quantities), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    alone = bootstrap_interval(values[0], level=LEVEL, seed=seed) if len(values) == 1 else None
    return over_seeds(values.mean(axis=1), alone=alone)


def over_seeds(by_seed: np.ndarray, *, alone: tuple[np.ndarray, np.ndarray] | None = None) -> Estimate:
    """Estimate the means over the trainings of one arm from the mean of each training.

    Args:
        by_seed: (R, K) mean of each training.
        alone: low and high, (K,) each, for a single training; None: its interval is unknown and has length 0.

    Source: Student 1908.
    """
    mean = by_seed.mean(axis=0)
    if len(by_seed) == 1:
        low, high = alone if alone is not None else (mean, mean)
        return Estimate(mean, np.asarray(low, dtype=float), np.asarray(high, dtype=float), by_seed)
    reach = t_reach(by_seed)
    return Estimate(mean, mean - reach, mean + reach, by_seed)


def columns(numbers: Estimate, *, seeds: Sequence[int]) -> dict[str, Any]:
    """Return an estimate as columns of a table: mean, low, high, trainings, and one column for each seed."""
    single = {f"{PREFIX}{seed}": values for seed, values in zip(seeds, numbers.by_seed, strict=True)}
    ends = {"mean": numbers.mean, "low": numbers.low, "high": numbers.high}
    return ends | {"trainings": len(seeds)} | single


def single_trainings(frame: pd.DataFrame) -> list[str]:
    """Return the columns of single trainings that have values, in a table made by `columns`."""
    return [name for name in frame if str(name).startswith(PREFIX) and frame[name].notna().to_numpy().any()]
