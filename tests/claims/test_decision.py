"""Decisions against closed forms and scipy."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, ttest_1samp, ttest_ind, ttest_rel

from stages.claims import decision
from stages.claims.decision import (
    ZERO,
    Difference,
    between_trainings,
    bootstrap,
    differences,
    holm,
    joint,
    paired_difference,
    resampled_means,
    standardised,
    verdict,
)


def compared(first, second, *, seed, resamples=decision.RESAMPLES):
    return paired_difference(*bootstrap([first, second], seed=seed, resamples=resamples))


def test_the_interval_is_that_of_the_normal_approximation():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.3, 1, 800), rng.normal(0, 1, 800)
    result = compared(first[None], second[None], seed=1)
    reach = 1.96 * (first - second).std() / 800**0.5
    assert result.effect == pytest.approx((first - second).mean())
    assert (result.low, result.high) == pytest.approx(
        (result.effect - reach, result.effect + reach), abs=0.01
    )


def test_p_values_are_those_of_the_t_test():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.08, 1, 900), rng.normal(0, 1, 900)
    assert compared(first[None], second[None], seed=1).p == pytest.approx(
        ttest_rel(first, second).pvalue, abs=0.03
    )


def test_no_difference_has_no_effect_and_p_one():
    same = np.arange(10.0)[None]
    assert compared(same, same, seed=0) == Difference(0.0, 0.0, 0.0, 1.0)


def test_resampled_means_are_those_of_a_plain_loop(monkeypatch):
    monkeypatch.setattr(decision, "AT_ONCE", 3 * 31)  # 3 resamples in one go, 2 in the last
    values = np.random.default_rng(5).normal(size=(4, 31))
    found = resampled_means(values, resamples=11, generator=np.random.default_rng(7))
    plain = np.random.default_rng(7)
    expected = [values[:, plain.integers(31, size=31, dtype=np.int32)].mean(axis=1) for _ in range(11)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_standardised_size_is_t_over_the_root_of_n():
    rng = np.random.default_rng(6)
    first, second = rng.normal(0.4, 1, 250), rng.normal(0, 1, 250)
    expected = ttest_rel(first, second).statistic / 250**0.5
    assert standardised(first - second) == pytest.approx(expected)
    assert compared(first[None], second[None], seed=0).d_z == pytest.approx(expected)
    assert standardised(10 * (first - second)) == pytest.approx(expected)  # whatever the unit
    assert standardised(np.full(9, 0.1)) is None and standardised(np.zeros(3)) is None
    assert standardised(np.ones(1)) is None
    # Replicates are averaged before: two that differ by as much up as down leave the size as it was.
    pair = np.stack([first + 1, first - 1])
    assert compared(pair, second[None], seed=0).d_z == pytest.approx(expected)


def test_without_another_side_a_mean_is_compared_with_0():
    values = np.random.default_rng(8).normal(0.5, 1, (1, 400))
    (mean,) = bootstrap([values], seed=2)
    alone = differences({"masked": mean}, higher="masked", lower=(ZERO,))
    (zero, same) = bootstrap([np.zeros((1, 400)), values], seed=2)
    against_zero = paired_difference(same, zero)
    assert len(alone) == 1 and alone[0].effect == pytest.approx(values.mean())
    assert alone[0][:3] == pytest.approx(against_zero[:3]) and alone[0].p == against_zero.p


def test_false_findings_are_rare():
    rng = np.random.default_rng(2)
    found = [
        compared(rng.normal(size=(1, 100)), rng.normal(size=(1, 100)), seed=s, resamples=1000).p < 0.05
        for s in range(100)
    ]
    assert np.mean(found) < 0.13


def test_replicates_widen_the_interval_by_what_they_differ():
    rng = np.random.default_rng(3)
    of_seed = rng.normal(0, 1, 40)
    first = of_seed[:, None] + rng.normal(0, 0.01, (40, 300))
    result = compared(first, np.zeros((1, 300)), seed=1)
    reach = 1.96 * of_seed.std() / 40**0.5
    assert (result.low, result.high) == pytest.approx(
        (of_seed.mean() - reach, of_seed.mean() + reach), abs=0.05
    )


def test_between_trainings_it_is_the_t_test():
    rng = np.random.default_rng(4)
    first, second = rng.normal(1, 1, 3), rng.normal(0, 3, 5)
    welch = ttest_ind(first, second, equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert between_trainings(first, second) == pytest.approx((interval.low, interval.high, welch.pvalue))
    once = ttest_1samp(first, second[0])
    interval = once.confidence_interval(0.95)
    expected = (interval.low - second[0], interval.high - second[0], once.pvalue)
    assert between_trainings(first, second[:1]) == pytest.approx(expected)
    assert (
        between_trainings(first[:1], second[:1]) is None and between_trainings(np.ones(3), second[:1]) is None
    )


@pytest.mark.parametrize("replicates", [2, 3])
def test_false_findings_are_rare_with_few_replicates_of_trainings_that_differ(replicates):
    rng = np.random.default_rng(8)

    def side():
        return rng.normal(0, 1, (replicates, 1)) + rng.normal(0, 0.5, (replicates, 60))

    found = [compared(side(), side(), seed=s, resamples=200) for s in range(200)]
    assert np.mean([item.p < 0.05 for item in found]) < 0.09
    assert np.mean([item.low <= 0 <= item.high for item in found]) > 0.91


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5] and holm([]) == []
    # never more permissive than Benjamini-Hochberg
    p = [0.001, 0.02, 0.03, 0.2]
    assert all(a >= b for a, b in zip(holm(p), false_discovery_control(p), strict=True))


def test_verdicts():
    up, down, flat = (
        Difference(1, 0.5, 1.5, 0.001),
        Difference(-1, -2, -0.1, 0.002),
        Difference(0.1, -1, 1, 0.8),
    )
    assert verdict([up], 0.001) == "supported"
    assert verdict([down], 0.002) == "contradicted"
    assert verdict([flat], 0.8) == "undecided"
    assert joint([up, flat]) == flat  # the least certain decides, with its own interval
    assert joint([up, up._replace(effect=2, p=0.2)]).effect == 2
    assert verdict([up, down], joint([up, down]).p) == "contradicted"
    # A vague difference that happens to be lower does not hide a certain one below 0.
    vague = Difference(-3, -9, 3, 0.3)
    assert joint([vague, down]) == down._replace(p=0.004)
    assert verdict([vague, down], joint([vague, down]).p) == "contradicted"
