"""How sure a mean is: the bootstrap over images, and over replicates where there are several."""

import numpy as np


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
    generator = np.random.default_rng(seed)
    means = np.empty((draws, quantities))
    for start in range(0, draws, 100):  # in parts, so that 50,000 images fit into memory
        size = min(100, draws - start)
        of_images = generator.multinomial(images, np.full(images, 1 / images), size=size) / images
        of_replicates = generator.multinomial(replicates, np.full(replicates, 1 / replicates), size=size)
        parts = np.stack([of_images @ replicate for replicate in values], axis=1)  # (size, R, K)
        means[start : start + size] = np.einsum("dr,drk->dk", of_replicates / replicates, parts)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return values.mean(axis=(0, 1)), low, high
