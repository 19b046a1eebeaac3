"""Corrections by hand and against scipy, and the interval that goes with each."""

import numpy as np
import pytest
from scipy import stats

from stages.claims.families import benjamini_hochberg, holm, is_fragile
from stages.claims.inference import METHODS, UNDECIDED, Estimate, Joint


def test_holm_by_hand():
    results = holm([0.01, 0.04, 0.03])
    assert [item.p for item in results] == pytest.approx([0.03, 0.06, 0.06])
    # The first is decided at a third of the level; the others at half of it, where it ended.
    assert [item.level for item in results] == pytest.approx([0.05 / 3, 0.025, 0.025])
    assert holm([]) == [] and holm([0.2])[0] == (0.2, 0.05)
    assert [item.p for item in holm([0.6, 0.7])] == [1, 1]


def test_an_adjusted_p_value_at_the_level_decides_nothing():
    # A quarter is exact in binary: 2 × .125 is the level, so that the second claim stays at half of it.
    first, second = holm([0.125, 0.125], level=0.25)
    assert (first, second) == ((0.25, 0.125), (0.25, 0.125))
    assert {item.level for item in benjamini_hochberg([0.25, 0.25], level=0.25)} == {0.125}


def test_benjamini_hochberg_is_scipys():
    generator = np.random.default_rng(6)
    for _ in range(20):
        p = generator.random(12) ** 3
        results = benjamini_hochberg(list(p))
        np.testing.assert_allclose([item.p for item in results], stats.false_discovery_control(p))
        decided = sum(item.p < 0.05 for item in results)
        assert [item.level for item in results] == pytest.approx([0.05 * max(1, decided) / 12] * 12)
    assert benjamini_hochberg([]) == [] and benjamini_hochberg([0.2]) == [(0.2, 0.05)]
    assert benjamini_hochberg([0.9, 0.8]) == [(0.9, 0.025), (0.9, 0.025)]


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_the_interval_at_its_level_decides_as_the_adjusted_p_value_does(correct):
    generator = np.random.default_rng(7)
    for _ in range(40):
        joints = [
            Joint((Estimate(effect, 1.0, 6.0, (), 0.0, METHODS, None, None),))
            for effect in generator.normal(0, 4, 9)
        ]
        results = correct([joint.p_decided(0.3) for joint in joints])
        for joint, item in zip(joints, results, strict=True):
            assert (joint.verdict(0.3, level=item.level) != UNDECIDED) == (item.p < 0.05)


def test_fewer_than_two_thirds_are_fragile():
    assert is_fragile(0.66) and not is_fragile(2 / 3) and not is_fragile(0.7)
