"""Choose the held-out images to measure."""

import numpy as np

from stages.study.seeds import derive


def evaluation_subset(images: int, wanted: int, *, seed: int) -> np.ndarray:
    """Choose held-out images at random: the same ones for every arm and every measurement of that number.

    images:  number of held-out images
    wanted:  number of images to choose
    returns: sorted indices (min(images, wanted),)
    """
    order = np.random.default_rng(derive(seed, "evaluation")).permutation(images)
    return np.sort(order[:wanted])
