"""The one rule for seeds: the mean over trainings, and how sure it is.

From two seeds on the interval is Student's t over the seeds: it covers what another training would change.
One training says nothing of that: its interval is the bootstrap over images, and must be called one
training's.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.results.bootstrap import bootstrap_interval
from stages.results.student import LEVEL, t_reach

PREFIX = "seed_"  # of the columns that hold single trainings


class Estimate(NamedTuple):
    """K means over the trainings of one arm, their 95 % intervals, and each training by itself."""

    mean: np.ndarray  # (K,)
    low: np.ndarray  # (K,)
    high: np.ndarray  # (K,)
    by_seed: np.ndarray  # (R, K)


def estimate(values: np.ndarray, *, seed: int = 0) -> Estimate:
    """Put the trainings of one arm together.

    Args:
        values: (R, n, K), K quantities of n images in R trainings.
        seed: of the bootstrap, which one training alone needs.

    Raises: ValueError if the shape is another or a value is not finite.
    """
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"values must be (seeds, images, quantities), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    alone = bootstrap_interval(values[0], level=LEVEL, seed=seed) if len(values) == 1 else None
    return over_seeds(values.mean(axis=1), alone=alone)


def over_seeds(by_seed: np.ndarray, *, alone: tuple[np.ndarray, np.ndarray] | None = None) -> Estimate:
    """Put the trainings of one arm together whose means are known.

    Args:
        by_seed: (R, K) mean of each training.
        alone: low and high, (K,) each, of a single training; its mean where nothing is known of its interval.

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
    """Return the columns of single trainings that a table made by `columns` has values in."""
    return [name for name in frame if str(name).startswith(PREFIX) and frame[name].notna().to_numpy().any()]
