"""Estimates against closed forms and scipy."""

import warnings

import numpy as np
import pytest
from scipy import stats

from stages.claims.inference import (
    CONTRADICTED,
    ENCODERS,
    METHODS,
    NEGLIGIBLE,
    SUPPORTED,
    UNDECIDED,
    Estimate,
    Joint,
    Side,
    contrast,
    correlation,
    difference,
    in_words,
)


def trainings(generator, count, *, mean=0.0, between=1.0, images=40, within=0.0):
    """Values of some trainings: what each has on all images, and what single images add."""
    of_training = mean + generator.normal(0, between, (count, 1))
    return of_training + generator.normal(0, 1, (count, images)) * within


def exactly(effect, se, *, df=30.0, scope=METHODS):
    return Estimate(effect, se, df, (), 0.0, scope, None, None)


def test_without_an_image_part_the_estimate_is_welchs_t_test():
    generator = np.random.default_rng(0)
    first, second = trainings(generator, 4, mean=1), trainings(generator, 6, between=3)
    welch = stats.ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    interval = welch.confidence_interval(0.95)
    estimate = difference(first, second)
    assert estimate.bounds() == pytest.approx((interval.low, interval.high))
    assert (estimate.p, estimate.df) == pytest.approx((welch.pvalue, welch.df))
    assert estimate.effect == pytest.approx(first.mean() - second.mean()) and estimate.scope == METHODS
    alone = difference(first)
    assert alone.p == pytest.approx(stats.ttest_1samp(first[:, 0], 0).pvalue)


def test_with_one_training_a_side_it_is_the_paired_t_test_over_images():
    generator = np.random.default_rng(1)
    first, second = generator.normal(0.2, 1, (1, 50)), generator.normal(0, 1, (1, 50))
    estimate = difference(first, second)
    paired = stats.ttest_rel(first[0], second[0])
    assert (estimate.p, estimate.df) == pytest.approx((paired.pvalue, 49))
    assert estimate.size_images == pytest.approx(paired.statistic / 50**0.5)
    assert estimate.size is None and estimate.trainings == (0.0, 0.0) and estimate.scope == ENCODERS


@pytest.mark.parametrize("images", [40, 2])
def test_the_variances_add(images):
    generator = np.random.default_rng(2)
    first, second = (
        trainings(generator, count, within=within, images=images) for count, within in ((4, 2), (5, 1))
    )
    estimate = difference(first, second)
    a, b = first.mean(axis=1).var(ddof=1) / 4, second.mean(axis=1).var(ddof=1) / 5
    c = (first.mean(axis=0) - second.mean(axis=0)).var(ddof=1) / images
    assert estimate.trainings == pytest.approx((a, b)) and estimate.images == pytest.approx(c)
    assert estimate.se**2 == pytest.approx(a + b + c)
    assert estimate.df == pytest.approx((a + b + c) ** 2 / (a**2 / 3 + b**2 / 4 + c**2 / (images - 1)))
    pooled = ((3 * 4 * a) + (4 * 5 * b)) / 7
    assert estimate.size == pytest.approx(estimate.effect / pooled**0.5)


def test_a_single_training_is_no_constant():
    generator = np.random.default_rng(3)
    first, second = trainings(generator, 5, within=1), trainings(generator, 1, within=1)
    estimate = difference(first, second)
    variance = first.mean(axis=1).var(ddof=1)
    assert estimate.trainings == pytest.approx((variance / 5, variance))
    images = estimate.images
    assert estimate.se**2 == pytest.approx(1.2 * variance + images)
    assert estimate.df == pytest.approx(estimate.se**4 / ((1.2 * variance) ** 2 / 4 + images**2 / 39))
    assert estimate.scope == ENCODERS
    back = difference(second, first)
    assert (back.effect, back.se, back.df) == pytest.approx((-estimate.effect, estimate.se, estimate.df))


@pytest.mark.parametrize(
    ("counts", "scope"),
    [((3, 3), METHODS), ((8, 3), METHODS), ((2, 2), ENCODERS), ((2, 5), ENCODERS), ((1, 4), ENCODERS),
     ((1, 1), ENCODERS), ((3,), METHODS), ((1,), ENCODERS)],
)  # fmt: skip
def test_scope(counts, scope):
    generator = np.random.default_rng(4)
    sides = [Side(1.0, trainings(generator, count)) for count in counts]
    assert contrast(sides).scope == scope


def test_a_slope_is_that_of_the_regression_over_trainings():
    generator = np.random.default_rng(5)
    x = np.array([1.0, 2.0, 4.0])
    cells = [trainings(generator, 3, mean=2 * place) for place in x]
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    estimate = contrast([Side(weight, cell) for weight, cell in zip(weights, cells, strict=True)])
    means = np.array([cell[:, 0] for cell in cells])
    assert estimate.effect == pytest.approx(stats.linregress(np.repeat(x, 3), means.ravel()).slope)
    assert estimate.se**2 == pytest.approx((weights**2 * means.var(axis=1, ddof=1) / 3).sum())


def test_what_does_not_vary_has_no_width():
    same = difference(np.ones((4, 6)), np.ones((4, 6)))
    assert same.bounds() == (0, 0) and same.p == 1 and same.size is None and same.size_images is None
    joint = Joint((difference(np.ones((4, 6)), np.zeros((4, 6))),))
    assert joint.verdict(0.5) == SUPPORTED and joint.p_decided(0.5) == 0
    assert Joint((same,)).verdict(0.5) == NEGLIGIBLE


def test_an_interval_that_ends_at_the_margin_leaves_it_open():
    for effect in (1.0, -1.0):
        joint = Joint((difference(np.full((4, 6), effect)),))
        assert joint.bounds() == (effect, effect)
        assert joint.verdict(1.0) == UNDECIDED and joint.p_decided(1.0) == 1


def test_one_image_shows_no_variance_between_images():
    first, second = np.array([[1.0], [2.0], [4.0]]), np.array([[0.0], [1.0], [5.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate = difference(first, second)
    welch = stats.ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    assert (estimate.images, estimate.size_images) == (0, None)
    assert (estimate.p, estimate.df) == pytest.approx((welch.pvalue, welch.df))


def test_a_spread_of_rounding_errors_has_no_standardised_effect():
    for scale in (1.0, 1e6):
        rounding = scale * np.array([[0.0], [1e-15], [-1e-15]])
        estimate = difference(scale + rounding + np.zeros((1, 5)))
        assert estimate.size is None and estimate.size_images is None
    estimate = difference(np.array([[1e-3], [1.1e-3], [0.9e-3]]) * 1e-3)
    assert estimate.size == pytest.approx(10)


def test_two_trainings_and_one_pool_a_single_degree_of_freedom():
    estimate = difference(np.array([[0.0, 0.0], [2.0, 2.0]]), np.array([[5.0, 5.0]]))
    # Their variance is 2: 2 / 2 for the mean of two and 2 for one, with one degree of freedom.
    assert estimate.trainings == (1.0, 2.0) and (estimate.se**2, estimate.df) == pytest.approx((3, 1))


def test_four_verdicts_by_the_bounds():
    low, high = exactly(0.0, 1.0).bounds()
    assert high == pytest.approx(stats.t.ppf(0.975, 30)) and low == -high
    for effect, margin, verdict in ((3, 0.9, SUPPORTED), (3, 1.1, UNDECIDED), (-3, 0.9, CONTRADICTED),
                                    (0.5, 3, NEGLIGIBLE), (0.5, 2, UNDECIDED)):  # fmt: skip
        joint = Joint((exactly(effect, 1.0),))
        assert joint.verdict(margin) == verdict
        # The p-value is the level from which on the interval gives it.
        p = joint.p_verdicts(margin)
        for name in (SUPPORTED, CONTRADICTED, NEGLIGIBLE):
            if 0 < p[name] < 1:
                assert joint.verdict(margin, level=p[name] * 1.001) == name
                assert joint.verdict(margin, level=p[name] * 0.999) != name
        assert joint.p_decided(margin) == min(p.values())
    assert (
        in_words(SUPPORTED, scope=METHODS) == "supported" and in_words(SUPPORTED, scope=ENCODERS) == "higher"
    )
    assert in_words(CONTRADICTED, scope=ENCODERS) == "lower"
    assert in_words(NEGLIGIBLE, scope=ENCODERS) == "no difference"


def test_a_claim_over_two_others_is_about_the_smaller_difference():
    up, down, flat = exactly(3, 1), exactly(-5, 1), exactly(0.1, 1)
    assert Joint((up, up)).verdict(0.5) == SUPPORTED and Joint((up, down)).verdict(0.5) == CONTRADICTED
    assert Joint((up, flat)).verdict(0.5) == UNDECIDED and Joint((up, flat)).weakest == flat
    assert Joint((up, flat)).verdict(4) == NEGLIGIBLE
    assert Joint((up, down)).p_verdicts(0)[CONTRADICTED] == pytest.approx(4 * down.p_below(0))
    assert Joint((up, flat)).p_verdicts(0)[SUPPORTED] == pytest.approx(flat.p)
    assert Joint((up, exactly(3, 1, scope=ENCODERS))).scope == ENCODERS


def test_the_p_value_of_two_comparisons_is_the_level_at_which_their_interval_reaches_0():
    precise, vague, below = exactly(0.05, 0.02), exactly(0.07, 0.1), exactly(-0.3, 0.1)
    for estimates in ((precise,), (precise, vague), (precise, below), (vague, below)):
        joint = Joint(estimates)
        for level, excludes in ((joint.p * 1.001, True), (joint.p * 0.999, False)):
            low, high = joint.bounds(level)
            assert (low > 0 or high < 0) == excludes
    assert Joint((precise,)).p == precise.p and Joint((precise, vague)).p == pytest.approx(vague.p)


def test_trainings_that_share_a_seed_may_be_correlated():
    assert correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(1)
    assert correlation(np.ones(3), np.arange(3.0)) is None and correlation(np.ones(1), np.ones(1)) is None
