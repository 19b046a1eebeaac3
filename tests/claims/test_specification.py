"""A verdict that rests on nothing is told from one that hinges on a choice."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.claims.decision import ZERO
from stages.claims.entries import CLAIMS, IMAGES, Choice, Claim
from stages.claims.specification import options_of, robustness, specification_table, specifications
from stages.claims.tables import Tables
from stages.results.files import MissingResult
from stages.results.study_results import Results
from stages.study.params import load_params


@pytest.fixture(scope="module")
def tables():
    return Tables(Results(load_params().model_copy(update={"seeds": [0]}), Path("nowhere")))


def claim(measure, *choices, lower=("masked",)):
    """A claim that CL has more of a measure."""
    return Claim(
        name="made_up",
        section="§0",
        statement="CL has more.",
        measure=measure,
        statistic="a number",
        unit="",
        higher="contrastive",
        lower=lower,
        choices=choices,
    )


def noise(arm, *names, images=80):
    """Standard normal values that are the same for the same arm and names, and apart for others."""
    return np.random.default_rng([ord(letter) for letter in "/".join((arm, *names))]).normal(0, 1, images)


BLOCKS = Choice("blocks", ("last third", "last half", "last block"))
HEADS = Choice("heads", ("mean", "median"))


def test_a_verdict_that_hangs_on_nothing(tables):
    def measure(_, arm, *, blocks, heads):
        return pd.Series((2.0 if arm == "cl" else 0.0) + noise(arm, blocks, heads))

    found = specifications(claim(measure, BLOCKS, HEADS, IMAGES), tables=tables)
    assert len(found) == 3 * 2 * 3
    assert found[0].choices == {"blocks": "last third", "heads": "mean", "images": "all"}
    assert robustness(found, verdict="supported") == {
        "count": 18,
        "agree": 1.0,
        "same_sign": 1.0,
        "supported": 1.0,
        "contradicted": 0.0,
        "undecided": 0.0,
        "median_d_z": pytest.approx(2 / 2**0.5, abs=0.3),
    }
    for item in found:  # every effect is the difference of the means of the images chosen
        names = (item.choices["blocks"], item.choices["heads"])
        part = {"all": slice(None), "one half": slice(0, None, 2), "other half": slice(1, None, 2)}
        cl, mim = (noise(arm, *names)[part[item.choices["images"]]] for arm in ("cl", "mim"))
        assert item.difference.effect == pytest.approx(2 + cl.mean() - mim.mean())
        assert item.difference.low < item.difference.effect < item.difference.high


def test_a_verdict_that_hinges_on_one_choice(tables):
    def measure(_, arm, *, blocks, heads):
        lift = {"last third": 2.0, "last half": -2.0, "last block": 0.0}[blocks] * (arm == "cl")
        return pd.Series(lift + noise(arm if lift else "same", blocks, heads))

    found = specifications(claim(measure, BLOCKS, HEADS, IMAGES), tables=tables)
    verdicts = {item.choices["blocks"]: set() for item in found}
    for item in found:
        verdicts[item.choices["blocks"]].add(item.verdict)
    assert verdicts == {
        "last third": {"supported"},
        "last half": {"contradicted"},
        "last block": {"undecided"},
    }
    shares = robustness(found, verdict="supported")
    assert shares["agree"] == shares["supported"] == shares["same_sign"] == pytest.approx(1 / 3)
    assert shares["contradicted"] == shares["undecided"] == pytest.approx(1 / 3)
    # After a correction that leaves the claim undecided, it is with that verdict that choices agree or not.
    assert robustness(found, verdict="undecided")["agree"] == pytest.approx(1 / 3)


def test_what_is_the_same_counts_once_and_what_is_missing_not_at_all(tables):
    def measure(_, arm, *, blocks, probe):
        if probe == "attentive":
            raise MissingResult("attentive is not among the probes of this study")
        return pd.Series(noise(arm, "late" if blocks != "last block" else "last", probe))

    probes = Choice("probe", ("linear", "knn", "attentive"))
    found = specifications(claim(measure, BLOCKS, probes), tables=tables)
    assert [tuple(item.choices.values()) for item in found] == [
        ("last third", "linear"),
        ("last third", "knn"),
        ("last block", "linear"),
        ("last block", "knn"),
    ]


def test_over_two_others_the_worse_decides(tables):
    def measure(_, arm, *, heads):
        return pd.Series({"cl": 2.0, "mim": 0.0, "hybrid": 5.0}[arm] + noise(arm, heads))

    both = claim(measure, HEADS, lower=("masked", "hybrid"))
    assert {item.verdict for item in specifications(both, tables=tables)} == {"contradicted"}
    alone = claim(measure, HEADS, lower=(ZERO,))
    found = specifications(alone, tables=tables)
    assert found[0].difference.effect == pytest.approx(2 + noise("cl", "mean").mean())


def test_all_combinations_see_the_images_that_all_have(tables):
    def measure(_, arm, *, heads):
        values = pd.Series(noise(arm, heads))
        return values[10:] if heads == "median" else values

    first, _ = specifications(claim(measure, HEADS), tables=tables)
    expected = noise("cl", "mean")[10:].mean() - noise("mim", "mean")[10:].mean()
    assert first.difference.effect == pytest.approx(expected)


def test_of_one_image_there_is_no_other_half(tables):
    found = specifications(claim(lambda _, arm: pd.Series([1.0 * (arm == "cl")]), IMAGES), tables=tables)
    assert [item.choices["images"] for item in found] == ["all", "one half"]
    assert robustness(found, verdict="supported")["median_d_z"] is None


def test_the_table_is_the_same_bytes_and_empty_where_a_claim_takes_no_choice(tables):
    def measure(_, arm, **chosen):
        return pd.Series(noise(arm, *chosen.values()))

    def table():
        found = {
            "one": specifications(claim(measure, BLOCKS), tables=tables),
            "two": specifications(claim(measure, HEADS, IMAGES), tables=tables),
        }
        return specification_table(found)

    made = table()
    assert made.to_csv(index=False) == table().to_csv(index=False)
    choices, found = ["blocks", "heads", "images"], ["effect", "low", "high", "p", "d_z", "verdict"]
    assert made.columns.tolist() == ["claim", "specification", *choices, *found]
    assert made["blocks"].isna().tolist() == [False] * 3 + [True] * 6
    assert made["specification"].tolist() == [1, 2, 3, 1, 2, 3, 4, 5, 6]
    assert specification_table({}).empty


def test_every_claim_can_be_decided_in_at_most_so_many_ways(tables, monkeypatch):
    monkeypatch.setattr(Tables, "label_sets", lambda *_: ["shape", "texture", "third"])
    for entry in CLAIMS:
        sizes = [len(options_of(choice, tables)) for choice in entry.choices]
        assert 2 < np.prod(sizes) <= 300, entry.name
        assert all(len(set(choice.options)) == len(choice.options) for choice in entry.choices)
    assert len({entry.name for entry in CLAIMS}) == len(CLAIMS)


def test_a_hundred_ways_with_2000_images_take_seconds(tables):
    def measure(_, arm, *, blocks):
        return pd.Series(noise(arm, blocks, images=2000))

    ways = Choice("blocks", tuple(f"block {number}" for number in range(33)))
    started = time.process_time()
    assert len(specifications(claim(measure, ways, IMAGES), tables=tables)) == 99
    assert time.process_time() - started < 3  # 0.5 s on one core
