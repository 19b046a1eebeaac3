"""Estimates against closed forms and scipy; what they promise, by simulation."""

import numpy as np
import pytest
from scipy import stats

from stages.claims.families import benjamini_hochberg, holm
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
    found = difference(first, second)
    assert found.bounds() == pytest.approx((interval.low, interval.high))
    assert (found.p, found.df) == pytest.approx((welch.pvalue, welch.df))
    assert found.effect == pytest.approx(first.mean() - second.mean()) and found.scope == METHODS
    alone = difference(first)
    assert alone.p == pytest.approx(stats.ttest_1samp(first[:, 0], 0).pvalue)


def test_with_one_training_a_side_it_is_the_paired_t_test_over_images():
    generator = np.random.default_rng(1)
    first, second = generator.normal(0.2, 1, (1, 50)), generator.normal(0, 1, (1, 50))
    found = difference(first, second)
    paired = stats.ttest_rel(first[0], second[0])
    assert (found.p, found.df) == pytest.approx((paired.pvalue, 49))
    assert found.size_images == pytest.approx(paired.statistic / 50**0.5)
    assert found.size is None and found.trainings == (0.0, 0.0) and found.scope == ENCODERS


def test_the_variances_add():
    generator = np.random.default_rng(2)
    first, second = trainings(generator, 4, within=2), trainings(generator, 5, within=1)
    found = difference(first, second)
    a, b = first.mean(axis=1).var(ddof=1) / 4, second.mean(axis=1).var(ddof=1) / 5
    images = (first.mean(axis=0) - second.mean(axis=0)).var(ddof=1) / 40
    assert found.trainings == pytest.approx((a, b)) and found.images == pytest.approx(images)
    assert found.se**2 == pytest.approx(a + b + images)
    assert found.df == pytest.approx((a + b + images) ** 2 / (a**2 / 3 + b**2 / 4 + images**2 / 39))
    pooled = ((3 * 4 * a) + (4 * 5 * b)) / 7
    assert found.size == pytest.approx(found.effect / pooled**0.5)


def test_a_single_training_is_no_constant():
    generator = np.random.default_rng(3)
    first, second = trainings(generator, 5, within=1), trainings(generator, 1, within=1)
    found = difference(first, second)
    variance = first.mean(axis=1).var(ddof=1)
    assert found.trainings == pytest.approx((variance / 5, variance))
    images = found.images
    assert found.se**2 == pytest.approx(1.2 * variance + images)
    assert found.df == pytest.approx(found.se**4 / ((1.2 * variance) ** 2 / 4 + images**2 / 39))
    assert found.scope == ENCODERS
    back = difference(second, first)
    assert (back.effect, back.se, back.df) == pytest.approx((-found.effect, found.se, found.df))


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
    found = contrast([Side(weight, cell) for weight, cell in zip(weights, cells, strict=True)])
    means = np.array([cell[:, 0] for cell in cells])
    assert found.effect == pytest.approx(stats.linregress(np.repeat(x, 3), means.ravel()).slope)
    assert found.se**2 == pytest.approx((weights**2 * means.var(axis=1, ddof=1) / 3).sum())


def test_what_does_not_vary_has_no_width():
    same = difference(np.ones((4, 6)), np.ones((4, 6)))
    assert same.bounds() == (0, 0) and same.p == 1 and same.size is None and same.size_images is None
    joint = Joint((difference(np.ones((4, 6)), np.zeros((4, 6))),))
    assert joint.verdict(0.5) == SUPPORTED and joint.p_decided(0.5) == 0
    assert Joint((same,)).verdict(0.5) == NEGLIGIBLE


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


def test_trainings_that_share_a_seed_may_be_correlated():
    assert correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(1)
    assert correlation(np.ones(3), np.arange(3.0)) is None and correlation(np.ones(1), np.ones(1)) is None


def test_holm_by_hand():
    found = holm([0.01, 0.04, 0.03])
    assert [item.p for item in found] == pytest.approx([0.03, 0.06, 0.06])
    # The first is decided at a third of the level; the others at half of it, where it ended.
    assert [item.level for item in found] == pytest.approx([0.05 / 3, 0.025, 0.025])
    assert holm([]) == [] and holm([0.2])[0] == (0.2, 0.05)


def test_benjamini_hochberg_is_scipys():
    generator = np.random.default_rng(6)
    for _ in range(20):
        p = generator.random(12) ** 3
        found = benjamini_hochberg(list(p))
        np.testing.assert_allclose([item.p for item in found], stats.false_discovery_control(p))
        decided = sum(item.p < 0.05 for item in found)
        assert found[0].level == pytest.approx(0.05 * max(1, decided) / 12)
    assert benjamini_hochberg([]) == []


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_the_interval_at_its_level_decides_as_the_adjusted_p_value_does(correct):
    generator = np.random.default_rng(7)
    for _ in range(40):
        joints = [Joint((exactly(effect, 1.0, df=6.0),)) for effect in generator.normal(0, 4, 9)]
        found = correct([joint.p_decided(0.3) for joint in joints])
        for joint, item in zip(joints, found, strict=True):
            assert (joint.verdict(0.3, level=item.level) != UNDECIDED) == (item.p < 0.05)


# What follows is simulated by plain arrays over many studies at once; the first test ties it to `contrast`.


def many(first, second):
    """Effect, standard error and degrees of freedom of many studies: (studies, trainings, images) a side."""
    a, b = first.mean(axis=2), second.mean(axis=2)
    images = first.shape[2]
    parts = [a.var(axis=1, ddof=1) / a.shape[1], b.var(axis=1, ddof=1) / b.shape[1],
             (first.mean(axis=1) - second.mean(axis=1)).var(axis=1, ddof=1) / images]  # fmt: skip
    free = (a.shape[1] - 1, b.shape[1] - 1, images - 1)
    variance = sum(parts)
    df = variance**2 / sum(part**2 / count for part, count in zip(parts, free, strict=True))
    return a.mean(axis=1) - b.mean(axis=1), variance**0.5, df


def studies(generator, *, count, seeds, images, spread, share):
    """One method in many studies, with the same images for all trainings of a study: see `simulated`."""
    return generator.normal(0, spread, (count, seeds, 1)) + share * images


def simulated(generator, *, count, seeds, spreads=(1.0, 1.0), share=0.3, images=50):
    """Two methods that do not differ.

    share: standard error of the images as a share of the standard deviation between trainings
    """
    of_images = generator.normal(0, images**0.5, (count, 1, images))  # by how much a side has more of it
    first = studies(generator, count=count, seeds=seeds, images=of_images, spread=spreads[0], share=share)
    return first, studies(
        generator, count=count, seeds=seeds, images=0 * of_images, spread=spreads[1], share=0
    )


def test_the_simulations_compute_what_the_study_does():
    first, second = simulated(np.random.default_rng(8), count=30, seeds=4)
    for study, numbers in enumerate(zip(*many(first, second), strict=True)):
        found = difference(first[study], second[study])
        assert (found.effect, found.se, found.df) == pytest.approx(numbers)


@pytest.mark.parametrize("seeds", range(3, 9))
@pytest.mark.parametrize("spreads", [(1.0, 1.0), (1.0, 0.5), (0.6, 1.0)])
def test_intervals_cover_as_often_as_they_say(seeds, spreads):
    count = 10_000
    generator = np.random.default_rng([seeds, int(10 * spreads[0]), int(10 * spreads[1])])
    effect, error, df = many(*simulated(generator, count=count, seeds=seeds, spreads=spreads))
    covered = (abs(effect) <= stats.t.ppf(0.975, df) * error).mean()
    slack = 2 * (0.05 * 0.95 / count) ** 0.5
    assert 0.94 - slack < covered < 0.96 + slack


@pytest.mark.parametrize(
    ("margin", "effect", "most"),
    [(0.5, 0.0, 0.05), (0.5, 0.5, 0.05), (0.0, 0.0, 0.06)],
    ids=["no difference", "as small as the margin", "no difference and no margin"],
)
@pytest.mark.parametrize("correlated", [0.0, 0.7])
def test_false_headline_verdicts_are_rare(margin, effect, most, correlated):
    """Nine claims, four seeds: `correlated` is what claims share of what trainings and images add.

    margin, effect: in standard deviations between trainings, of all claims; in the default study margins are
    0.4 to 4. Without one, the few degrees of freedom cost .007 at the first steps of Holm's correction.
    """
    generator = np.random.default_rng([int(10 * margin), int(10 * effect), int(10 * correlated)])
    count, claims, images = 4000, 9, 30
    alone, shared = (1 - correlated) ** 0.5, correlated**0.5
    common = [generator.normal(0, 1, (count, 4, 1)) for _ in range(2)]
    of_images = generator.normal(0, images**0.5, (count, 1, images))
    p = np.empty((count, claims))
    false = np.empty((count, claims), dtype=bool)
    for claim in range(claims):
        sides = [shared * part + alone * generator.normal(0, 1, part.shape) for part in common]
        more = shared * of_images + alone * generator.normal(0, images**0.5, of_images.shape)
        estimate, error, df = many(effect + sides[0] + 0.3 * more, sides[1] + 0 * more)
        above, below = (2 * stats.t.sf((sign * estimate - margin) / error, df) for sign in (1, -1))
        within = 2 * np.maximum(*(stats.t.sf((margin - sign * estimate) / error, df) for sign in (1, -1)))
        p[:, claim] = np.minimum.reduce([above, below, within, np.ones(count)])
        # At the margin itself the effect is not beyond it, and not within it either.
        false[:, claim] = np.minimum(above, below) < within if effect < margin or not margin else True
        if claim == 0:  # the same numbers as the study's own
            joint = Joint((exactly(estimate[0], error[0], df=df[0]),))
            assert joint.p_decided(margin) == pytest.approx(p[0, 0])
    decided = np.array([[item.p < 0.05 for item in holm(list(row))] for row in p])
    wrong = (decided & false).any(axis=1).mean()
    assert wrong < most + 2 * (0.05 * 0.95 / count) ** 0.5
