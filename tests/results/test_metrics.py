"""Metrics of several seeds as one file: means with Student's interval, and each seed."""

import pytest
from scipy import stats

from stages.results.metrics import over_seeds


def test_numbers_are_means_with_the_interval_of_scipy() -> None:
    values = {0: 0.5, 1: 0.6, 5: 0.55}
    each = {
        seed: {"labels": {"shape": {"accuracy": value, "low": 0.1, "high": 0.9, "images": 40}}, "how": "so"}
        for seed, value in values.items()
    }
    together = over_seeds(each)
    shape = together["labels"]["shape"]
    expected = stats.ttest_1samp(list(values.values()), 0).confidence_interval(0.95)
    assert (shape["low"], shape["high"]) == pytest.approx((expected.low, expected.high))
    assert shape["accuracy"] == pytest.approx(0.55) and shape["images"] == 40 and together["how"] == "so"
    assert together["seeds"] == {str(seed): metrics for seed, metrics in each.items()}


def test_one_seed_has_its_interval_over_images() -> None:
    alone = {"accuracy": 0.5, "low": 0.4, "high": 0.7}
    assert over_seeds({3: alone}) == alone | {"seeds": {"3": alone}}
