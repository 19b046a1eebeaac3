"""The bootstrap agrees with theory and with scipy."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from stages.render.intervals import bootstrap_interval, drawn_times


def test_close_to_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, (1, 800, 3))
    mean, low, high = bootstrap_interval(values, draws=4000)
    reach = 1.959964 * values.std(axis=1)[0] / np.sqrt(800)
    np.testing.assert_allclose(mean, values.mean(axis=(0, 1)))
    np.testing.assert_allclose(high - mean, reach, rtol=0.07)
    np.testing.assert_allclose(mean - low, reach, rtol=0.07)


def test_close_to_scipy() -> None:
    values = np.random.default_rng(2).exponential(1.0, (1, 120, 1))
    _, low, high = bootstrap_interval(values, draws=6000)
    theirs = bootstrap(
        (values[0, :, 0],), np.mean, n_resamples=6000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert low[0] == pytest.approx(theirs.low, abs=0.012)
    assert high[0] == pytest.approx(theirs.high, abs=0.012)


def test_replicates_widen_the_interval() -> None:
    images = np.random.default_rng(4).normal(0, 0.1, (1, 300, 1))
    apart = np.concatenate([images - 1, images, images + 1])
    mean, low, high = bootstrap_interval(apart)
    assert mean[0] == pytest.approx(images.mean())
    assert low[0] == pytest.approx(-1, abs=0.1) and high[0] == pytest.approx(1, abs=0.1)
    _, low_same, high_same = bootstrap_interval(np.concatenate([images] * 3))
    _, low_one, high_one = bootstrap_interval(images)
    # The same images in every replicate: three equal replicates say no more than one.
    assert high_same[0] - low_same[0] == pytest.approx(high_one[0] - low_one[0], rel=0.12)


def test_constant_values_have_no_width_and_seeds_repeat() -> None:
    mean, low, high = bootstrap_interval(np.full((2, 7, 2), 0.25))
    assert np.allclose([mean, low, high], 0.25)
    values = np.random.default_rng(5).normal(size=(1, 40, 2))
    assert np.array_equal(bootstrap_interval(values), bootstrap_interval(values))
    assert not np.array_equal(bootstrap_interval(values)[1], bootstrap_interval(values, seed=1)[1])


@pytest.mark.parametrize("values", [np.ones((3, 4)), np.ones((0, 4, 1)), np.full((1, 3, 1), np.nan)])
def test_refuses_what_is_no_sample(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="values must be"):
        bootstrap_interval(values)


@pytest.mark.parametrize(("replicates", "images", "draws"), [(1, 30, 250), (3, 300, 100)])
def test_the_draws_are_those_of_one_generator_whoever_asks_again(
    replicates: int, images: int, draws: int
) -> None:
    values = np.random.default_rng(6).normal(size=(replicates, images, 2))
    generator = np.random.default_rng(9)
    means = []
    for start in range(0, draws, 100):
        size = min(100, draws - start)
        of_images = generator.multinomial(images, np.full(images, 1 / images), size=size)
        of_replicates = generator.multinomial(replicates, np.full(replicates, 1 / replicates), size=size)
        for weights, shares in zip(of_images, of_replicates, strict=True):
            parts = [np.average(replicate, axis=0, weights=weights) for replicate in values]
            means.append(np.average(parts, axis=0, weights=shares))
    expected = np.percentile(means, [2.5, 97.5], axis=0)
    for _ in range(2):
        _, low, high = bootstrap_interval(values, draws=draws, seed=9)
        np.testing.assert_allclose([low, high], expected, rtol=1e-10)
    with pytest.raises(ValueError, match="read-only"):
        drawn_times(images, replicates=replicates, draws=draws, seed=9)[0][0, 0] = 1
