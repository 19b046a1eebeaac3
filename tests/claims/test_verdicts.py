"""The scope and the words of a claim by the seeds of its sides, and what gates leave of a family."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.claims import verdicts
from stages.claims.claim import ZERO, Choice, Claim, Margin, Part
from stages.claims.curve_test import joint_test
from stages.claims.gates import (
    CONVERGED,
    FAILED,
    LEARNT,
    NOT_MEASURED,
    PASSED,
    REPORTED,
    Gate,
    rests_on,
)
from stages.claims.specification import specifications
from stages.claims.tables import Tables
from stages.claims.verdicts import CORRECTIONS, against, corrected, counts, decided, draft
from stages.results.files import MissingResult
from stages.results.study_results import Results
from stages.study.params import load_params
from stages.study.settings import Arm

LEVELS = {"random": 0, "cl": 5, "moco": 5, "dino": 4, "mim": 2, "mae": 6, "simmim": 2, "hybrid": 3}
IMAGES = 40
CLAIM = Claim(
    name="made_up",
    family="headline",
    section="§0",
    statement="CL has more.",
    measure=lambda tables, arm: values(arm, tables.seed),
    statistic="a number",
    unit="",
    margin=Margin(0.5, "half of it"),
    higher="contrastive",
    lower=("masked",),
)


def values(arm, seed):
    """What a training has on all images, and what single images add."""
    generator = np.random.default_rng([seed, *arm.encode()])
    return pd.Series(LEVELS[arm] + generator.normal(0, 0.1) + generator.normal(0, 0.3, IMAGES))


def not_measured(tables, arm):
    raise MissingResult("not measured")


def tables_of(**seeds):
    """A study whose arms have these seeds; None for an imported arm."""
    objectives = {
        "cl": "contrastive", "dino": "dino", "mim": "masked", "mae": "autoencoder", "hybrid": "hybrid",
        "random": "random",
    }  # fmt: skip
    formats = {"moco": "moco_v3", "simmim": "simmim"}
    arms = {
        name: Arm(objective="imported", weights="a.pth", format=formats[name])
        if of_arm is None
        else Arm(objective=objectives[name], seeds=of_arm, cl_weight=0.2 if name == "hybrid" else None)
        for name, of_arm in seeds.items()
    }
    return Tables(Results(load_params().model_copy(update={"arms": arms}), Path("nowhere")))


def compare(claim, tables, gates=()):
    """The numbers of one claim, decided alone."""
    item = draft(claim, tables=tables, gates=gates)
    return decided(item, corrected([item]).get(claim.name), tables=tables, seed=0, gates=gates)


@pytest.mark.parametrize(
    ("seeds", "scope", "counted"),
    [
        ({"cl": [0], "mim": [0]}, "these encoders", (1, 1)),
        ({"cl": [0, 1], "mim": [0, 1]}, "these encoders", (2, 2)),
        ({"cl": [3], "mim": [0, 1, 2, 3]}, "these encoders", (1, 4)),
        ({"cl": [0, 1], "mim": [0, 1, 2, 3]}, "these encoders", (2, 4)),
        ({"moco": None, "mim": [0, 1, 2, 3]}, "these encoders", (1, 4)),
        ({"moco": None, "simmim": None}, "these encoders", (1, 1)),
        ({"cl": [0, 1, 2], "mim": [0, 1, 2]}, "methods", (3, 3)),
        ({"cl": [0, 1, 2], "mim": [4, 0, 1, 2]}, "methods", (3, 4)),
        ({"cl": [0, 1, 2], "mim": [3, 4, 5]}, "methods", (3, 3)),
    ],
)
def test_the_scope_and_the_words_follow_the_seeds_of_both_sides(seeds, scope, counted):
    forwards, backwards = (
        compare(claim, tables_of(**seeds))
        for claim in (CLAIM, replace(CLAIM, higher="masked", lower=("contrastive",)))
    )
    words = {"methods": ("supported", "contradicted"), "these encoders": ("higher", "lower")}[scope]
    assert (forwards["verdict"], backwards["verdict"]) == words
    assert forwards["scope"] == scope
    assert forwards["trainings"] == dict(zip(("contrastive", "masked"), counted, strict=True))
    first, second = (np.mean([values(arm, seed).mean() for seed in seeds[arm] or [0]]) for arm in seeds)
    assert (forwards["effect"], -backwards["effect"]) == pytest.approx((first - second, first - second))
    # A side with one training borrows the variance of the other; alone on both sides there is none.
    parts = [forwards["se_parts"][role] for role in ("contrastive", "masked")]
    assert all(part > 0 for part in parts) == (counted != (1, 1))
    if counted[0] == 1:
        assert parts[0] == pytest.approx(parts[1] * counted[1] ** 0.5)
    words = counts({"made_up": forwards})
    assert words == ("headline: 1 supported" if scope == "methods" else "1 about these encoders only")


def test_two_imported_encoders_differ_by_their_images_alone():
    entry = compare(CLAIM, tables_of(moco=None, simmim=None))
    paired = stats.ttest_rel(values("moco", 0), values("simmim", 0))
    assert (entry["p"], entry["df"]) == pytest.approx((paired.pvalue, IMAGES - 1))
    assert entry["seeds"] == {"contrastive": [0], "masked": [0]} and entry["d"] is None
    # The same encoder on both sides is no difference at all.
    alike = replace(CLAIM, measure=lambda tables, arm: values("moco", tables.seed))
    entry = compare(alike, tables_of(moco=None, simmim=None))
    assert (entry["effect"], entry["se"], entry["verdict"]) == (0, 0, "no difference")


def test_trainings_that_are_all_the_same_add_no_variance_and_no_correlation():
    alike = replace(CLAIM, measure=lambda tables, arm: values(arm, tables.seed if arm == "mim" else 0))
    entry = compare(alike, tables_of(cl=[0, 1, 2, 3], mim=[0, 1, 2, 3]))
    assert entry["se_parts"]["contrastive"] == pytest.approx(0, abs=1e-12)
    assert entry["se_parts"]["masked"] > 0 and 3 <= entry["df"] < IMAGES + 3
    assert entry["scope"] == "methods" and "contrastive" in entry["by_seed"]


def test_the_correlation_is_of_the_seeds_that_both_sides_have():
    entry = compare(CLAIM, tables_of(cl=[5, 0, 1, 2], mim=[2, 1, 0, 7]))
    means = [[values(arm, seed).mean() for seed in (0, 1, 2)] for arm in ("cl", "mim")]
    assert entry["seed_correlation"] == pytest.approx(np.corrcoef(means)[0, 1])
    assert entry["by_seed"]["masked"] == pytest.approx(
        {str(seed): values("mim", seed).mean() for seed in (2, 1, 0, 7)}
    )
    assert compare(CLAIM, tables_of(cl=[0, 1, 2], mim=[3, 4, 5]))["seed_correlation"] is None
    with_nothing = replace(CLAIM, lower=(ZERO,))
    assert "seed_correlation" not in compare(with_nothing, tables_of(cl=[0, 1, 2]))


FOUR = {"random": [0, 1, 2, 3], "cl": [0, 1, 2, 3], "mim": [0, 1, 2, 3]}


@pytest.mark.parametrize(
    ("name", "arm", "status", "tuned", "blocked"),
    [
        (LEARNT, "cl", FAILED, False, True),
        (LEARNT, "mim", FAILED, False, True),
        (LEARNT, "hybrid", FAILED, False, False),  # of another arm
        (LEARNT, "cl", PASSED, False, False),
        (LEARNT, "cl", NOT_MEASURED, False, False),
        ("gradient ratio", "cl", REPORTED, False, False),
        (CONVERGED, "random", FAILED, False, False),  # the measure needs no fine-tuning
        (CONVERGED, "random", FAILED, True, True),
        (CONVERGED, "random", NOT_MEASURED, True, False),
    ],
)
def test_only_a_failed_gate_of_the_claim_leaves_it_without_a_verdict(name, arm, status, tuned, blocked):
    claim = replace(CLAIM, tuned=tuned)
    gate = Gate(name, arm, status, None, "words of the gate")
    entry, plain = compare(claim, tables_of(**FOUR), [gate]), compare(claim, tables_of(**FOUR))
    if not blocked:
        assert repr(entry) == repr(plain) and entry["verdict"] == "supported"
        return
    assert entry["verdict"] == "not testable at this budget" and entry["curve"] == []
    assert not {"p_adjusted", "level", "specifications", "joint_test"} & set(entry)
    assert (entry["effect"], entry["se"]) == (plain["effect"], plain["se"])  # the numbers stand
    assert draft(claim, tables=tables_of(**FOUR), gates=[gate]).failed == [gate]
    study = tables_of(**FOUR).params
    assert rests_on([gate], arms=["cl", "mim"], tuned=tuned, study=study) == [gate]


@pytest.mark.parametrize(("name", "arm"), [(LEARNT, "cl_s"), (CONVERGED, "random_s")])
def test_a_claim_over_sizes_rests_on_the_arms_of_every_size_that_it_reads(name, arm):
    small = {"width": 32, "heads": 2, "seeds": [0, 1, 2, 3]}
    tables = tables_of(**FOUR)
    sizes = {f"{name}_s": each.model_copy(update=small) for name, each in tables.params.arms.items()}
    study = tables.params.model_copy(update={"arms": tables.params.arms | sizes})
    of_sizes = Tables(Results(study, Path("nowhere")))
    gate = Gate(name, arm, FAILED, None, "words of the gate")
    claim = replace(CLAIM, tuned=True)
    assert compare(claim, of_sizes, [gate])["verdict"] == "supported"
    assert compare(replace(claim, sizes=True), of_sizes, [gate])["verdict"] == "not testable at this budget"


def test_claims_without_a_verdict_take_no_part_in_the_correction():
    def noisy(tables, arm):
        return values(arm, tables.seed) + np.random.default_rng([tables.seed, len(arm)]).normal(0, 3)

    claims = [replace(CLAIM, name="sure"), replace(CLAIM, name="unsure", measure=noisy)]
    extra = [
        replace(CLAIM, name="missing", measure=not_measured),
        replace(CLAIM, name="blocked", higher="hybrid", lower=("contrastive",)),
        replace(CLAIM, name="elsewhere", family="exploratory"),
        replace(CLAIM, name="single", lower=(ZERO,), higher="hybrid"),
    ]
    tables = tables_of(**FOUR, hybrid=[0])
    gates = [Gate(LEARNT, "hybrid", FAILED, 0.0, "hybrid learnt nothing")]
    drafts = [draft(claim, tables=tables, gates=gates) for claim in (*claims, *extra)]
    numbers = corrected(drafts)
    assert set(numbers) == {"sure", "unsure", "elsewhere"}
    assert numbers["sure"].level == 0.025 and numbers["unsure"].level == 0.05
    assert numbers["elsewhere"].level == 0.05  # the only one of its family
    # About these encoders: another comparison, which is corrected among its like.
    drafts = [draft(claim, tables=tables) for claim in (*claims, *extra)]
    numbers = corrected(drafts)
    assert numbers["sure"].level == 0.025
    assert (numbers["single"].level, numbers["blocked"].level) == (0.025, 0.05)
    entries = {
        item.claim.name: decided(item, numbers.get(item.claim.name), tables=tables, seed=0) for item in drafts
    }
    assert entries["missing"]["verdict"] == "not tested" and "effect" not in entries["missing"]
    assert drafts[2].why == "not measured"
    assert counts(entries) == (
        "headline: 1 supported, 1 undecided, 1 not tested; exploratory: 1 supported; "
        "2 about these encoders only"
    )


def test_the_joint_test_of_all_choices_is_of_the_seed_that_was_given():
    def measure(tables, arm, *, way):
        return values(arm, tables.seed) + (way == "b") * values("hybrid", tables.seed) / 9

    six = [0, 1, 2, 3, 4, 5]
    claim = replace(
        CLAIM, measure=measure, margin=Margin(2.9, "as large"), choices=(Choice("way", ("a", "b")),)
    )
    tables = tables_of(cl=six, mim=six)  # 924 relabellings, of which some are drawn
    item = draft(claim, tables=tables)
    entry = decided(item, corrected([item])["made_up"], tables=tables, seed=3)
    pairs = [
        [np.array([measure(tables.of(seed), arm, way=way) for seed in six]) for arm in ("cl", "mim")]
        for way in ("a", "b")
    ]
    assert entry["joint_test"] == joint_test(pairs, seed=3)._asdict() != joint_test(pairs, seed=0)._asdict()
    shares = entry["specifications"]
    assert shares["count"] == 2 and entry["fragile"] == (shares["agree"] < 2 / 3)
    assert "joint_test" not in compare(CLAIM, tables_of(**FOUR))  # a single way


@pytest.mark.parametrize(
    ("lift", "spread", "verdict"),
    [(3, 0.1, "above"), (-3, 0.1, "below"), (0, 0.1, "within the margin"), (0, 3, "undecided")],
)
def test_each_side_has_its_difference_to_the_untrained_encoder(lift, spread, verdict):
    generator = np.random.default_rng(1)
    control = pd.DataFrame(generator.normal(0, spread, (1, 4)) + np.zeros((IMAGES, 1)))
    side = pd.DataFrame(lift + generator.normal(0, spread, (1, 4)) + np.zeros((IMAGES, 1)))
    numbers = against(side, control, margin=0.5)
    assert (numbers["verdict"], numbers["scope"]) == (verdict, "methods")
    assert numbers["effect"] == pytest.approx(side.to_numpy().mean() - control.to_numpy().mean())


def test_the_untrained_encoder_stands_beside_a_claim_about_two_methods_only():
    entry = compare(CLAIM, tables_of(**FOUR))
    assert set(entry["over_random"]) == {"contrastive", "masked"}
    effect = entry["values"]["masked"] - entry["values"]["random"]
    assert entry["over_random"]["masked"]["effect"] == pytest.approx(effect)
    falls = replace(CLAIM, lower=(ZERO, "random"))
    assert "over_random" not in compare(falls, tables_of(**FOUR))
    assert "over_random" not in compare(CLAIM, tables_of(cl=[0, 1, 2], mim=[0, 1, 2]))


def test_over_zero_and_the_untrained_encoder_the_smaller_difference_names_its_parts():
    falls = replace(CLAIM, lower=(ZERO, "random"))
    entry = compare(falls, tables_of(**FOUR))  # the untrained encoder has -0.1 or 0.1 of it at random
    over_zero = entry["values"]["contrastive"]
    over_random = over_zero - entry["values"]["random"]
    assert entry["effect"] == pytest.approx(min(over_zero, over_random))
    expected = {"contrastive", "images"} | ({"random"} if over_random < over_zero else set())
    assert set(entry["se_parts"]) == expected
    lifted = replace(falls, measure=lambda tables, arm: values(arm, tables.seed) - 9 * (arm == "random"))
    entry = compare(lifted, tables_of(**FOUR))
    assert set(entry["se_parts"]) == {"contrastive", "images"}
    assert entry["effect"] == pytest.approx(entry["values"]["contrastive"])


def test_secondary_measures_have_a_mean_and_an_interval_for_each_side():
    half = Part("half of it", lambda tables, arm, share: share * values(arm, tables.seed), {"share": 0.5})
    gone = Part("gone", not_measured)
    entry = compare(replace(CLAIM, beside=(half, gone)), tables_of(**FOUR))
    assert set(entry["beside"]) == {"half of it"}
    part = entry["beside"]["half of it"]["masked"]
    assert part["mean"] == pytest.approx(entry["values"]["masked"] / 2)
    table = np.array([values("mim", seed) for seed in range(4)]) / 2
    training, images = table.mean(axis=1).var(ddof=1) / 4, table.mean(axis=0).var(ddof=1) / IMAGES
    df = (training + images) ** 2 / (training**2 / 3 + images**2 / (IMAGES - 1))
    reach = stats.t.ppf(0.975, df) * (training + images) ** 0.5
    assert (part["low"], part["high"]) == pytest.approx((part["mean"] - reach, part["mean"] + reach))


def test_other_methods_of_the_same_kind_are_compared_at_the_plain_level():
    three = [0, 1, 2]
    tables = tables_of(cl=three, mim=three, dino=[7], mae=three)
    entry = compare(CLAIM, tables)
    verdicts = {name: (part["verdict"], part["scope"]) for name, part in entry["replications"].items()}
    assert verdicts == {
        "contrastive over autoencoder": ("contradicted", "methods"),
        "dino over masked": ("higher", "these encoders"),
        "dino over autoencoder": ("lower", "these encoders"),
    }
    sides = [[values(arm, seed).mean() for seed in three] for arm in ("cl", "mae")]
    effect = entry["replications"]["contrastive over autoencoder"]["effect"]
    assert effect == pytest.approx(np.mean(sides[0]) - np.mean(sides[1]))
    assert "replications" not in compare(replace(CLAIM, general=False), tables)
    assert "replications" not in compare(replace(CLAIM, lower=("hybrid",)), tables_of(cl=three, hybrid=three))
    failed = [Gate(LEARNT, "mae", FAILED, 0.0, "no better")]
    gated = compare(CLAIM, tables, gates=failed)
    assert {name: part["verdict"] for name, part in gated["replications"].items()} == {
        "contrastive over autoencoder": "not testable at this budget",
        "dino over masked": "higher",
        "dino over autoencoder": "not testable at this budget",
    }
    # Both roles may have the same method in their place: such a pair is no comparison.
    twice = compare(replace(CLAIM, higher="masked", lower=("autoencoder",)), tables)
    assert "replications" not in twice


def test_the_printed_interval_and_the_curve_have_the_level_of_the_correction(monkeypatch):
    tables = tables_of(**FOUR)
    others = {"a": CLAIM.margin, "b": replace(CLAIM.margin, value=2.9)}
    items = [
        draft(replace(CLAIM, name=name, margin=margin), tables=tables) for name, margin in others.items()
    ]
    numbers = corrected(items)
    assert numbers["a"].level == 0.025
    entry = decided(items[0], numbers["a"], tables=tables, seed=0)
    assert (entry["corrected_low"], entry["corrected_high"]) == items[0].joint.bounds(0.025)
    levels = []

    def note(claim, *, level, **options):
        levels.append(level)
        return specifications(claim, level=level, **options)

    monkeypatch.setattr(verdicts, "specifications", note)
    decided(items[0], numbers["a"], tables=tables, seed=0)
    assert levels == [0.025]


def test_families_have_their_corrections():
    assert {name: rule.__name__ for name, rule in CORRECTIONS.items()} == {
        **dict.fromkeys(("headline", "hybrid"), "holm"),
        **dict.fromkeys(("exploratory", "ours"), "benjamini_hochberg"),
    }


def test_a_replication_is_decided_by_the_margin_of_the_claim():
    """DINO is above MIM by 2, which is less than a margin of 3 and more than one of 0."""
    claim = replace(CLAIM, margin=replace(CLAIM.margin, value=3.0))
    entry = compare(claim, tables_of(**FOUR, dino=[0, 1, 2, 3]))
    assert entry["replications"]["dino over masked"]["verdict"] == "negligible"
