"""The percentile bootstrap over images, for means of a single training."""

from functools import lru_cache

import numpy as np

PART = 100  # draws in memory at a time, so that 50,000 images fit


def bootstrap_interval(
    values: np.ndarray, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile bootstrap interval of the mean over images.

    Args:
        values: (n, K), K quantities of n images; each draw takes the same images for all quantities.

    Returns: low and high, (K,) each.
    Raises: ValueError if the shape is wrong or a value is not finite.
    Source: Efron & Tibshirani 1993, ch. 13.
    """
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"values must be (images, quantities), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    times = times_drawn(len(values), draws=draws, seed=seed)
    means = np.concatenate(
        [times[start : start + PART].astype(float) @ values for start in range(0, draws, PART)]
    )
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means / len(values), [tail, 100 - tail], axis=0)
    return low, high


@lru_cache(maxsize=4)  # a report needs hundreds of intervals over the same images
def times_drawn(images: int, *, draws: int, seed: int) -> np.ndarray:
    """Return how many times each draw takes each image.

    Returns: (draws, images), read-only integers; each row sums to `images`.
    """
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, draws, PART):
        times = generator.multinomial(images, np.full(images, 1 / images), size=min(PART, draws - start))
        parts.append(times.astype(np.min_scalar_type(times.max())))  # one byte each: 50 MB for 50,000 images
    whole = np.concatenate(parts)
    whole.flags.writeable = False
    return whole
