"""The rule for seeds: Student's t over several, the bootstrap over images for one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stages.results.bootstrap import bootstrap_interval, times_drawn
from stages.results.seeds import columns, estimate, over_seeds, single_trainings
from stages.results.student import t_quantile


@given(degrees=st.integers(1, 60), level=st.floats(0.5, 0.999))
def test_quantiles_are_those_of_scipy(degrees: int, level: float) -> None:
    assert t_quantile(degrees, level=level) == pytest.approx(stats.t.ppf(0.5 + level / 2, degrees), rel=1e-9)


def test_several_seeds_have_the_t_interval_of_scipy() -> None:
    values = np.random.default_rng(0).normal(2.0, 1.0, (4, 50, 3))
    mean, low, high, by_seed = estimate(values)
    np.testing.assert_allclose(by_seed, values.mean(axis=1))
    expected = stats.ttest_1samp(by_seed, 0, axis=0).confidence_interval(0.95)
    np.testing.assert_allclose([low, high], [expected.low, expected.high])
    np.testing.assert_allclose(mean, values.mean(axis=(0, 1)))


def test_intervals_of_seeds_cover_the_mean_of_all_trainings() -> None:
    generator = np.random.default_rng(1)
    trainings = generator.normal(0, 1, (2000, 3))
    intervals = [over_seeds(three[:, None]) for three in trainings]
    covered = np.mean([item.low[0] <= 0 <= item.high[0] for item in intervals])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_one_seed_has_the_bootstrap_over_images() -> None:
    values = np.random.default_rng(2).normal(3.0, 2.0, (1, 800, 3))
    mean, low, high, _ = estimate(values)
    reach = 1.959964 * values.std(axis=1)[0] / np.sqrt(800)
    np.testing.assert_allclose(mean, values.mean(axis=(0, 1)))
    np.testing.assert_allclose(high - mean, reach, rtol=0.15)
    np.testing.assert_allclose(mean - low, reach, rtol=0.15)
    alone = over_seeds(np.array([[1.0]]), alone=(np.array([0.5]), np.array([2.0])))
    assert (alone.low[0], alone.high[0]) == (0.5, 2.0)
    unknown = over_seeds(np.array([[1.0]]))
    assert unknown.low[0] == unknown.high[0] == 1.0


def test_the_bootstrap_is_close_to_that_of_scipy() -> None:
    values = np.random.default_rng(2).exponential(1.0, (120, 1))
    low, high = bootstrap_interval(values, draws=6000)
    theirs = stats.bootstrap(
        (values[:, 0],), np.mean, n_resamples=6000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert low[0] == pytest.approx(theirs.low, abs=0.012)
    assert high[0] == pytest.approx(theirs.high, abs=0.012)


def test_constant_values_have_no_width_and_draws_repeat() -> None:
    assert np.allclose(estimate(np.full((2, 7, 2), 0.25))[:3], 0.25)
    values = np.random.default_rng(5).normal(size=(40, 2))
    assert np.array_equal(bootstrap_interval(values), bootstrap_interval(values))
    assert not np.array_equal(bootstrap_interval(values)[1], bootstrap_interval(values, seed=1)[1])


@pytest.mark.parametrize("values", [np.ones((3, 4)), np.ones((0, 4, 1)), np.full((1, 3, 1), np.nan)])
def test_refuses_what_is_no_sample(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="values must be"):
        estimate(values)
    with pytest.raises(ValueError, match="values must be"):
        bootstrap_interval(values if values.ndim == 2 and np.isnan(values).any() else values[None])


@pytest.mark.parametrize(("images", "draws"), [(30, 250), (300, 100)])
def test_the_draws_are_those_of_one_generator_whoever_asks_again(images: int, draws: int) -> None:
    values = np.random.default_rng(6).normal(size=(images, 2))
    generator = np.random.default_rng(9)
    means = []
    for start in range(0, draws, 100):
        times = generator.multinomial(images, np.full(images, 1 / images), size=min(100, draws - start))
        means += [np.average(values, axis=0, weights=weights) for weights in times]
    expected = np.percentile(means, [2.5, 97.5], axis=0)
    for _ in range(2):
        np.testing.assert_allclose(bootstrap_interval(values, draws=draws, seed=9), expected, rtol=1e-10)
    with pytest.raises(ValueError, match="read-only"):
        times_drawn(images, draws=draws, seed=9)[0, 0] = 1


def test_columns_name_the_seeds() -> None:
    numbers = over_seeds(np.array([[1.0, 5.0], [3.0, 5.0]]))
    result = columns(numbers, seeds=[0, 7])
    assert result["trainings"] == 2 and result["mean"].tolist() == [2, 5]
    assert result["seed_0"].tolist() == [1, 5] and result["seed_7"].tolist() == [3, 5]


def test_trainings_of_another_arm_are_not_those_of_a_curve() -> None:
    import pandas as pd

    frame = pd.concat([pd.DataFrame({"seed_0": [1.0]}), pd.DataFrame({"seed_5": [2.0], "mean": [2.0]})])
    assert single_trainings(frame[1:]) == ["seed_5"]
