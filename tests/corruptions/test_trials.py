"""Held-out images in batches, whose images exchange amplitudes and textures."""

import numpy as np
import pytest

from stages.corruptions.trials import BATCH, in_batches


@pytest.mark.parametrize(
    ("images", "sizes"),
    [
        (1, [1]),
        (99, [99]),
        (100, [100]),
        (101, [101]),
        (102, [100, 2]),
        (201, [100, 101]),
        (250, [100, 100, 50]),
    ],
)
def test_no_image_is_alone_in_its_batch_if_there_are_others(images, sizes):
    chosen = np.random.default_rng(0).permutation(1000)[:images]
    batches = in_batches(chosen)
    assert [len(batch) for batch in batches] == sizes and BATCH == 100
    assert np.array_equal(np.concatenate(batches), chosen)
