"""The metrics of an arm: the mean over its seeds, and the metrics of each seed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.results.student import t_reach

BOUNDED = ("accuracy", "miou")  # metrics whose interval is given by `low` and `high`


def over_seeds(metrics: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of nested metrics over seeds, with the metrics of each seed under `seeds`.

    metrics: seed -> nested metrics. Numbers are averaged; other values stay only if all seeds share them

    With several seeds, `low` and `high` are the ends of Student's 95 % interval over seeds. With one seed,
    they remain the ends of the interval over images.
    """
    mean = _mean(list(metrics.values()))
    return mean | {"seeds": {f"{seed}": of_seed for seed, of_seed in metrics.items()}}


def _mean(values: list[dict[str, Any]]) -> dict[str, Any]:
    if len(values) == 1:
        return dict(values[0])
    mean: dict[str, Any] = {}
    for key in values[0]:
        parts = [value[key] for value in values if key in value]
        if len(parts) < len(values):
            continue
        if all(isinstance(part, dict) for part in parts):
            mean[key] = _mean(parts)
        elif all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts):
            mean[key] = parts[0] if len(set(parts)) == 1 else float(np.mean(parts))
        elif all(part == parts[0] for part in parts):
            mean[key] = parts[0]
    bounded = next((key for key in BOUNDED if key in mean and "low" in mean), None)
    if bounded is not None:
        numbers = np.array([value[bounded] for value in values])
        reach = float(t_reach(numbers))
        mean |= {"low": float(numbers.mean() - reach), "high": float(numbers.mean() + reach)}
    return mean
