"""A verdict that rests on nothing is told from one that hinges on a choice."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.claims.claim import ZERO, Choice, Claim, Margin
from stages.claims.entries import CLAIMS
from stages.claims.specification import (
    curve_test,
    options_of,
    robustness,
    specification_table,
    specifications,
)
from stages.claims.tables import Tables
from stages.results.files import MissingResult
from stages.results.study_results import Results
from stages.study.params import load_params

SEEDS = [0, 1, 2, 3]


@pytest.fixture(scope="module")
def tables():
    return Tables(Results(load_params().model_copy(update={"seeds": SEEDS}), Path("nowhere")))


def claim(measure, *choices, lower=("masked",)):
    """A claim that CL has more of a measure."""
    return Claim(
        name="made_up",
        family="exploratory",
        section="§0",
        statement="CL has more.",
        measure=measure,
        statistic="a number",
        unit="",
        margin=Margin(0.5, "half of it"),
        higher="contrastive",
        lower=lower,
        choices=choices,
    )


def decided(entry, tables, *, margin=0.5, level=0.05):
    return specifications(entry, tables=tables, margin=margin, level=level)


def noise(arm, *names, seed=0, images=80):
    """Values that are the same for the same arm, names and seed: what a training adds, and its images."""
    generator = np.random.default_rng([seed, *(ord(letter) for letter in "/".join((arm, *names)))])
    return generator.normal(0, 0.3) + generator.normal(0, 1, images)


BLOCKS = Choice("blocks", ("last third", "last half", "last block"))
HEADS = Choice("heads", ("mean", "median"))


def test_a_verdict_that_hangs_on_nothing(tables):
    def measure(tables, arm, *, blocks, heads):
        return pd.Series((2.0 if arm == "cl" else 0.0) + noise(arm, blocks, heads, seed=tables.seed))

    decisions = decided(claim(measure, BLOCKS, HEADS), tables)
    assert len(decisions) == 3 * 2
    assert decisions[0].choices == {"blocks": "last third", "heads": "mean"}
    shares = robustness(decisions, verdict="supported")
    assert (shares["count"], shares["agree"], shares["same_sign"]) == (6, 1.0, 1.0)
    names = ("supported", "contradicted", "negligible", "undecided")
    assert [shares[name] for name in names] == [1.0, 0.0, 0.0, 0.0]
    assert shares["median_d"] > 3
    for item in decisions:
        sides = [
            [noise(arm, *item.choices.values(), seed=seed).mean() for seed in SEEDS] for arm in ("cl", "mim")
        ]
        expected = 2 + np.mean(sides[0]) - np.mean(sides[1])
        assert item.joint.weakest.effect == pytest.approx(expected)
        assert item.joint.scope == "methods"
    test = curve_test(claim(measure, BLOCKS, HEADS), decisions, seed=0)
    assert (test.relabellings, test.share) == (70, 1.0) and test.p_median == pytest.approx(2 / 70)


def test_a_verdict_that_hinges_on_one_choice(tables):
    def measure(tables, arm, *, blocks, heads):
        lift = {"last third": 3.0, "last half": -3.0, "last block": 0.0}[blocks] * (arm == "cl")
        return pd.Series(lift + noise(arm if lift else "same", blocks, heads, seed=tables.seed))

    decisions = decided(claim(measure, BLOCKS, HEADS), tables, margin=1.5)
    verdicts = {item.choices["blocks"]: set() for item in decisions}
    for item in decisions:
        verdicts[item.choices["blocks"]].add(item.verdict)
    assert verdicts["last third"] == {"supported"} and verdicts["last half"] == {"contradicted"}
    assert verdicts["last block"] == {"negligible"}
    shares = robustness(decisions, verdict="supported")
    assert shares["agree"] == shares["supported"] == shares["same_sign"] == pytest.approx(1 / 3)
    # All at the level of the claim: one that leaves everything open leaves every choice open.
    strict = decided(claim(measure, BLOCKS, HEADS), tables, margin=1.5, level=1e-9)
    assert {item.verdict for item in strict} == {"undecided"}


def test_few_trainings_are_these_encoders(tables):
    def measure(tables, arm):
        return pd.Series((2.0 if arm == "cl" else 0.0) + noise(arm, seed=tables.seed))

    for seeds, verdict in (([0], "higher"), ([0, 1], "higher"), ([0, 1, 2], "supported")):
        few = Tables(Results(tables.params.model_copy(update={"seeds": seeds}), Path("nowhere")))
        (only,) = decided(claim(measure), few, margin=0.1)
        assert only.verdict == verdict, seeds
        assert only.joint.scope == ("methods" if len(seeds) > 2 else "these encoders")
    arms = dict(tables.params.arms)
    arms["mim"] = arms["mim"].model_copy(update={"seeds": [5]})
    mixed = Tables(Results(tables.params.model_copy(update={"arms": arms}), Path("nowhere")))
    (only,) = decided(claim(measure), mixed)
    assert only.joint.scope == "these encoders" and only.joint.weakest.trainings[1] > 0


def test_what_is_the_same_counts_once_and_what_is_missing_not_at_all(tables):
    def measure(tables, arm, *, blocks, probe):
        if probe == "attentive":
            raise MissingResult("attentive is not among the probes of this study")
        name = "late" if blocks != "last block" else "last"
        return pd.Series(noise(arm, name, probe, seed=tables.seed))

    probes = Choice("probe", ("linear", "knn", "attentive"))
    decisions = decided(claim(measure, BLOCKS, probes), tables)
    assert [tuple(item.choices.values()) for item in decisions] == [
        ("last third", "linear"),
        ("last third", "knn"),
        ("last block", "linear"),
        ("last block", "knn"),
    ]


def test_over_two_others_the_worse_decides(tables):
    def measure(tables, arm, *, heads):
        level = {"cl": 2.0, "mim": 0.0, "hybrid": 5.0}[arm]
        return pd.Series(level + noise(arm, heads, seed=tables.seed))

    both = claim(measure, HEADS, lower=("masked", "hybrid"))
    assert {item.verdict for item in decided(both, tables)} == {"contradicted"}
    alone = claim(measure, HEADS, lower=(ZERO,))
    decisions = decided(alone, tables)
    means = [2 + noise("cl", "mean", seed=seed).mean() for seed in SEEDS]
    assert decisions[0].joint.weakest.effect == pytest.approx(np.mean(means))
    assert decisions[0].joint.weakest.se > stats.sem(means)  # images add to it


def test_the_joint_test_is_of_the_comparison_that_decides(tables):
    def measure(tables, arm, *, heads):
        level = {"cl": 2.0, "mim": 0.0, "hybrid": 1.5}[arm]
        return pd.Series(level + noise(arm, heads, seed=tables.seed))

    both = claim(measure, HEADS, lower=("masked", "hybrid"))
    alone = claim(measure, HEADS, lower=("hybrid",))
    tests = [curve_test(item, decided(item, tables), seed=0) for item in (both, alone)]
    assert tests[0] == tests[1] and 0 < tests[0].median < 1


def test_all_combinations_see_the_images_that_all_have(tables):
    def measure(tables, arm, *, heads):
        values = pd.Series(noise(arm, heads, seed=tables.seed))
        return values[10:] if heads == "median" else values

    first, _ = decided(claim(measure, HEADS), tables)
    means = [np.mean([noise(arm, "mean", seed=seed)[10:].mean() for seed in SEEDS]) for arm in ("cl", "mim")]
    assert first.joint.weakest.effect == pytest.approx(means[0] - means[1])


def test_the_table_is_the_same_bytes_and_empty_where_a_claim_takes_no_choice(tables):
    def measure(tables, arm, **chosen):
        return pd.Series(noise(arm, *chosen.values(), seed=tables.seed))

    def table():
        by_claim = {
            "one": decided(claim(measure, BLOCKS), tables),
            "two": decided(claim(measure, HEADS), tables),
        }
        return specification_table(by_claim)

    content = table()
    assert content.to_csv(index=False) == table().to_csv(index=False)
    numbers = ["effect", "low", "high", "p", "d_z", "verdict"]
    assert content.columns.tolist() == ["claim", "specification", "blocks", "heads", *numbers]
    assert content["blocks"].isna().tolist() == [False] * 3 + [True] * 2
    assert content["specification"].tolist() == [1, 2, 3, 1, 2]
    assert specification_table({}).empty


def test_every_claim_can_be_decided_in_at_most_so_many_ways(tables, monkeypatch):
    monkeypatch.setattr(Tables, "label_sets", lambda *_: ["shape", "texture", "third"])
    for entry in CLAIMS:
        sizes = [len(options_of(choice, tables)) for choice in entry.choices]
        assert np.prod(sizes) <= 100, entry.name
        assert all(len(set(choice.options)) == len(choice.options) for choice in entry.choices)
        assert entry.margin.value > 0 and entry.margin.reason and entry.frozen
        # The untrained encoder decides no claim about two methods, but those about one.
        assert "random" not in entry.sides or len(entry.sides) == 2
        assert not {"images", "epoch", "head"} & {choice.name for choice in entry.choices}
    assert len({entry.name for entry in CLAIMS}) == len(CLAIMS)
    headline = {entry.name for entry in CLAIMS if entry.family == "headline"}
    assert len(headline) == 9 and {"linear_probing", "dense_prediction", "implicit_decoder"} < headline
    assert sum(entry.family == "hybrid" for entry in CLAIMS) == 2


def test_a_hundred_ways_with_2000_images_take_seconds(tables):
    def measure(tables, arm, *, blocks):
        return pd.Series(noise(arm, blocks, seed=tables.seed, images=2000))

    ways = Choice("blocks", tuple(f"block {number}" for number in range(99)))
    started = time.process_time()
    decisions = decided(claim(measure, ways), tables)
    assert len(decisions) == 99 and curve_test(claim(measure, ways), decisions, seed=0)
    assert time.process_time() - started < 5
