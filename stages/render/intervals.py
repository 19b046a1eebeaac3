"""How sure a mean is: the bootstrap over images, and over replicates where there are several."""

from functools import lru_cache

import numpy as np

PART = 100  # draws at a time, so that 50,000 images fit into memory


def bootstrap_interval(
    values: np.ndarray, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over replicates and images with its percentile bootstrap interval.

    values:  (R, n, K): R replicates measured on the same n images, K quantities
    returns: mean, low, high: (K,) each
    With several replicates each draw first draws replicates, then images, the same ones for all replicates,
    because they were measured on the same images.
    Raises ValueError if the shape is another or a value is not finite.
    """
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"values must be (replicates, images, quantities), got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    replicates, images, quantities = values.shape
    times_images, times_replicates = drawn_times(images, replicates=replicates, draws=draws, seed=seed)
    means = np.empty((draws, quantities))
    for start in range(0, draws, PART):
        of_images, of_replicates = (
            times[start : start + PART].astype(float) / times.shape[1]
            for times in (times_images, times_replicates)
        )
        parts = np.stack([of_images @ replicate for replicate in values], axis=1)  # (PART, R, K)
        means[start : start + PART] = np.einsum("dr,drk->dk", of_replicates, parts)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return values.mean(axis=(0, 1)), low, high


@lru_cache(maxsize=4)  # a report asks for hundreds of intervals over the same images
def drawn_times(images: int, *, replicates: int, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each draw takes each image, and each replicate.

    returns: (draws, images) and (draws, replicates) whole numbers, read-only; each row sums to its length
    """
    generator = np.random.default_rng(seed)
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for start in range(0, draws, PART):
        size = min(PART, draws - start)
        for parts, among in zip(found, (images, replicates), strict=True):
            times = generator.multinomial(among, np.full(among, 1 / among), size=size)
            parts.append(times.astype(np.min_scalar_type(times.max())))  # a byte each: 50 MB of 50,000 images
    of_images, of_replicates = map(np.concatenate, found)
    for times in (of_images, of_replicates):
        times.flags.writeable = False
    return of_images, of_replicates
