"""Which images are measured."""

import numpy as np

from stages.data.evaluation import evaluation_subset


def test_the_subset_is_drawn_without_repetition_and_smaller_ones_lie_within_larger_ones():
    small, large = (evaluation_subset(100, count, seed=3) for count in (20, 60))
    assert len(np.unique(small)) == 20 and (np.diff(small) > 0).all()
    assert set(small) < set(large) < set(range(100))
    assert abs(evaluation_subset(10_000, 1000, seed=0).mean() - 5000) < 300
    assert not np.array_equal(small, evaluation_subset(100, 20, seed=4))
    assert np.array_equal(evaluation_subset(5, 20, seed=0), np.arange(5))
