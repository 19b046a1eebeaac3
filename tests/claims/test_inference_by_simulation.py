"""What the inference promises, in many simulated studies; wrong inferences break the promise."""

import numpy as np
import pytest
from scipy import stats

from stages.claims.entries import CLAIMS
from stages.claims.families import Corrected, holm
from stages.claims.inference import LEVEL, UNDECIDED, Joint, difference
from stages.claims.verdicts import Draft, corrected

HEADLINE = [claim for claim in CLAIMS if claim.family == "headline"]
TIED = 20  # studies of each simulation that the study's own functions decide as well


def many(first, second):
    """Effect, variance components and their degrees of freedom: (studies, trainings, images) a side.

    returns: (studies,), (3, studies): first, second, images, (3, 1)
    """
    a, b = first.mean(axis=2), second.mean(axis=2)
    images = first.shape[2]
    parts = [a.var(axis=1, ddof=1) / a.shape[1], b.var(axis=1, ddof=1) / b.shape[1],
             (first.mean(axis=1) - second.mean(axis=1)).var(axis=1, ddof=1) / images]  # fmt: skip
    free = np.array([[a.shape[1] - 1], [b.shape[1] - 1], [images - 1]])
    return a.mean(axis=1) - b.mean(axis=1), np.array(parts), free


def combined(parts, free):
    """Standard error and degrees of freedom of each study, after Welch and Satterthwaite."""
    variance = parts.sum(axis=0)
    return variance**0.5, variance**2 / (parts**2 / free).sum(axis=0)


def simulated(generator, *, count, seeds, spreads=(1.0, 1.0), share=0.3, images=50):
    """Values of two methods that do not differ, with the same images for all trainings of a study.

    share: standard error of the images as a share of the standard deviation between trainings
    """
    of_images = generator.normal(0, images**0.5, (count, 1, images))  # by how much a side has more of it
    first, second = (generator.normal(0, spread, (count, seeds, 1)) for spread in spreads)
    return first + share * of_images, second + 0 * of_images


def most_and_least(count):
    """The shares between which the coverage of a 95 % interval may lie, with the error of a simulation."""
    slack = 2 * (LEVEL * (1 - LEVEL) / count) ** 0.5
    return 0.94 - slack, 0.96 + slack


@pytest.mark.parametrize("seeds", range(3, 9))
@pytest.mark.parametrize("spreads", [(1.0, 1.0), (1.0, 0.5), (0.6, 1.0)])
def test_intervals_cover_as_often_as_they_say(seeds, spreads):
    count = 10_000
    generator = np.random.default_rng([seeds, int(10 * spreads[0]), int(10 * spreads[1])])
    first, second = simulated(generator, count=count, seeds=seeds, spreads=spreads)
    effect, parts, free = many(first, second)
    error, df = combined(parts, free)
    reach = stats.t.ppf(1 - LEVEL / 2, df) * error
    least, most = most_and_least(count)
    assert least < (abs(effect) <= reach).mean() < most
    for study in range(TIED):
        ends = effect[study] - reach[study], effect[study] + reach[study]
        assert difference(first[study], second[study]).bounds() == pytest.approx(ends)


@pytest.mark.parametrize(
    ("seeds", "wrong"),
    [
        (3, lambda parts, free: stats.norm.ppf(0.975) * combined(parts, free)[0]),  # for few trainings
        (4, lambda parts, free: stats.t.ppf(0.975, free[2]) * parts[2] ** 0.5),  # images are no replicates
        (8, lambda parts, free: stats.t.ppf(0.975, free[0] + free[1]) * parts[:2].sum(axis=0) ** 0.5),
    ],
    ids=["normal quantiles", "images alone", "trainings alone"],
)
def test_wrong_intervals_cover_less(seeds, wrong):
    count = 10_000
    effect, parts, free = many(*simulated(np.random.default_rng(seeds), count=count, seeds=seeds))
    assert (abs(effect) <= wrong(parts, free)).mean() < most_and_least(count)[0]


def headline_studies(generator, *, count, effect, correlated, images=30):
    """Values of every headline claim in studies of four seeds: two sides a claim, as `simulated`."""
    alone, shared = (1 - correlated) ** 0.5, correlated**0.5
    common = [generator.normal(0, 1, (count, 4, 1)) for _ in range(2)]
    of_images = generator.normal(0, images**0.5, (count, 1, images))
    for _ in HEADLINE:
        sides = [shared * part + alone * generator.normal(0, 1, part.shape) for part in common]
        more = shared * of_images + alone * generator.normal(0, images**0.5, of_images.shape)
        yield effect + sides[0] + 0.3 * more, sides[1] + 0 * more


def p_of_verdicts(effect, error, *, margin, tail):
    """Smallest level of the interval that decides, and whether it then says more or less than the margin.

    tail: (statistic) -> one-sided p-value
    """
    beyond = 2 * np.minimum(tail((effect - margin) / error), tail((-effect - margin) / error))
    within = 2 * np.maximum(tail((margin - effect) / error), tail((margin + effect) / error))
    return np.minimum(1, np.minimum(beyond, within)), beyond < within


def false_headlines(values, *, margin, true, tail=stats.t.sf, correct=holm):
    """The share of studies with a false headline verdict.

    values: for each claim, the two sides (studies, trainings, images)
    true:   the effect of all claims; at the margin itself it is not beyond it, and not within it either
    returns: the share; and each study's correction of all claims
    """
    numbers = []
    for sides in values:
        effect, parts, free = many(*sides)
        error, df = combined(parts, free)
        numbers.append(p_of_verdicts(effect, error, margin=margin, tail=lambda t, df=df: tail(t, df)))
    p, beyond = (np.array(part).T for part in zip(*numbers, strict=True))
    corrections = [correct(list(row)) for row in p]
    decided = np.array([[item.p < LEVEL for item in row] for row in corrections])
    false = beyond if true < margin or not margin else np.ones_like(beyond)
    return (decided & false).any(axis=1).mean(), corrections


@pytest.mark.parametrize(
    ("margin", "effect", "most"),
    [(0.5, 0.0, 0.05), (0.5, 0.5, 0.05), (0.0, 0.0, 0.06)],
    ids=["no difference", "as small as the margin", "no difference and no margin"],
)
@pytest.mark.parametrize("correlated", [0.0, 0.7])
def test_false_headline_verdicts_are_rare(margin, effect, most, correlated):
    """Four seeds: `correlated` is what claims share of what trainings and images add.

    margin, effect: in standard deviations between trainings, of all claims; in the default study margins are
    0.4 to 4. Without one, the few degrees of freedom cost .007 at the first steps of Holm's correction.
    """
    generator = np.random.default_rng([int(10 * margin), int(10 * effect), int(10 * correlated)])
    count = 4000
    values = [*headline_studies(generator, count=count, effect=effect, correlated=correlated)]
    wrong, corrections = false_headlines(values, margin=margin, true=effect)
    assert wrong < most + 2 * (LEVEL * (1 - LEVEL) / count) ** 0.5
    for study in range(TIED):
        joints = [Joint((difference(first[study], second[study]),)) for first, second in values]
        drafts = [
            Draft(claim, joint=joint, margin=margin) for claim, joint in zip(HEADLINE, joints, strict=True)
        ]
        by_name = corrected(drafts)
        numbers = [by_name[claim.name] for claim in HEADLINE]
        np.testing.assert_allclose(numbers, corrections[study])
        for joint, number in zip(joints, numbers, strict=True):
            assert (joint.verdict(margin, level=number.level) != UNDECIDED) == (number.p < LEVEL)


def each_alone(p_values):
    """No correction."""
    return [Corrected(p, LEVEL) for p in p_values]


@pytest.mark.parametrize(("margin", "effect"), [(0.5, 0.5), (0.0, 0.0)])
@pytest.mark.parametrize(
    "wrong",
    [{"correct": each_alone}, {"tail": lambda statistic, _: stats.norm.sf(statistic)}],
    ids=["without Holm", "normal quantiles"],
)
def test_wrong_inferences_have_many_false_verdicts(margin, effect, wrong):
    generator = np.random.default_rng([9, int(10 * margin)])
    values = headline_studies(generator, count=1000, effect=effect, correlated=0.0)
    assert false_headlines(values, margin=margin, true=effect, **wrong)[0] > 0.08
