"""Which held-out images are measured."""

import numpy as np

from stages.study.seeds import derive


def evaluation_subset(images: int, wanted: int, *, seed: int) -> np.ndarray:
    """The held-out images that are measured, the same for every arm and measurement of that many; sorted.

    returns: (min(images, wanted),) indices
    """
    order = np.random.default_rng(derive(seed, "evaluation")).permutation(images)
    return np.sort(order[:wanted])
