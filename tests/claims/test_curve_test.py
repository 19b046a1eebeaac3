"""The joint test against plain enumeration, and its false alarms."""

import itertools

import numpy as np
import pytest
from scipy import stats

from stages.claims.curve_test import MOST, joint_test, relabellings
from stages.claims.inference import difference


def curve(generator, *, seeds=(3, 4), images=12, effect=0.0, specifications=3):
    """Specifications that share what trainings add, and have noise of their own."""
    common = [generator.normal(0, 1, (count, 1)) for count in seeds]
    pairs = []
    for _ in range(specifications):
        sides = [part + generator.normal(0, 0.5, (len(part), images)) for part in common]
        pairs.append((sides[0] + effect, sides[1] if len(seeds) > 1 else None))
    return pairs


def test_it_is_the_plain_enumeration():
    pairs = curve(np.random.default_rng(0), effect=1.5)
    result = joint_test(pairs)
    medians, shares = [], []
    for chosen in itertools.combinations(range(7), 3):
        rest = [place for place in range(7) if place not in chosen]
        estimates = []
        for first, second in pairs:
            both = np.concatenate([first, second])
            estimates.append(difference(both[list(chosen)], both[rest]))
        medians.append(abs(np.median([item.effect for item in estimates])))
        shares.append(np.mean([item.p < 0.05 for item in estimates]))
    assert result.relabellings == 35 and result.share == pytest.approx(shares[0])
    assert abs(result.median) == pytest.approx(medians[0])
    assert result.p_median == pytest.approx(np.mean(np.array(medians) >= medians[0] - 1e-9))
    assert result.p_share == pytest.approx(np.mean(np.array(shares) >= shares[0]))


@pytest.mark.parametrize("seeds", [(3, 4), (2, 2), (5,)])
@pytest.mark.parametrize("images", [1, 2, 4])
def test_an_effect_is_significant_from_the_end_of_its_interval_on(seeds, images):
    generator = np.random.default_rng([images, *seeds])
    first, *others = (generator.normal(0, 1, (count, images)) for count in seeds)
    estimate = difference(first, *others)
    reach = estimate.effect - estimate.bounds()[0]
    for factor, share in ((0.9999, 0), (1.0001, 1)):
        moved = first - estimate.effect + factor * reach
        assert joint_test([(moved, *others) if others else (moved, None)]).share == share


def test_one_side_changes_its_signs():
    pairs = curve(np.random.default_rng(1), seeds=(5,), effect=3.0)
    result = joint_test(pairs)
    assert result.relabellings == 32 and result.p_median == pytest.approx(2 / 32)
    medians = [
        np.median([np.mean(np.array(signs) @ first / 5) for first, _ in pairs])
        for signs in itertools.product([1, -1], repeat=5)
    ]
    assert result.median == pytest.approx(medians[0])
    assert result.p_median == pytest.approx(np.mean(np.abs(medians) >= abs(medians[0]) - 1e-9))


def test_four_seeds_a_side_that_lie_apart_give_the_smallest_p_value_there_is():
    result = joint_test(curve(np.random.default_rng(2), seeds=(4, 4), effect=20.0))
    assert (result.relabellings, result.share) == (70, 1.0)
    assert result.p_median == pytest.approx(2 / 70) == result.least
    uneven = joint_test(curve(np.random.default_rng(2), seeds=(3, 4), effect=20.0))
    assert uneven.p_median == pytest.approx(1 / 35) == uneven.least  # no relabelling is the mirror image


def test_many_relabellings_are_drawn():
    drawn = [*relabellings(8, 8, seed=1)]
    assert len(drawn) == MOST and all(sum(row) == 0 for row in drawn)
    assert drawn[0].tolist() == [1] * 8 + [-1] * 8
    assert next(relabellings(12, 0)).tolist() == [1] * 12
    assert joint_test(curve(np.random.default_rng(3), seeds=(1, 4))) is None


def test_false_alarms_are_as_rare_as_the_level():
    generator = np.random.default_rng(4)
    p = [joint_test(curve(generator, seeds=(4, 4))).p_median for _ in range(300)]
    alarms = sum(value <= 4 / 70 + 1e-9 for value in p)
    assert stats.binomtest(alarms, 300, 4 / 70).pvalue > 0.001


def test_of_one_side_every_sign_is_drawn_as_often():
    rows = np.array([*relabellings(12, 0)])
    assert len(rows) == MOST and len(np.unique(rows, axis=0)) > 0.8 * MOST
    assert (np.abs(rows.mean(axis=0)) < 0.2).all()
