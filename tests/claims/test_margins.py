"""Margins in the units of a study: of a share of even attention, and of the range of its arms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.claims import margins
from stages.claims.claim import Choice, Claim, Margin
from stages.claims.margins import ACCURACY, AMPLITUDE, DISTANCE, NMI, margin_of
from stages.claims.tables import Tables
from stages.results.files import MissingResult
from stages.results.study_results import Results
from stages.study.params import load_params
from stages.study.settings import Arm

CLAIM = Claim(
    name="made_up",
    family="headline",
    section="§0",
    statement="CL has more.",
    measure=lambda tables, arm: pd.Series([1.0]),
    statistic="a number",
    unit="",
    margin=NMI,
    higher="contrastive",
    lower=("masked",),
)


def tables_of(study=None, **arms):
    study = study or load_params()
    return Tables(Results(study.model_copy(update={"arms": arms} if arms else {}), Path("nowhere")))


def test_margins_are_those_that_were_declared():
    declared = {
        "ACCURACY": 0.02, "OVERLAP": 0.02, "RELATIVE": 0.02, "GROWTH": 0.02, "DISTANCE": 0.05, "NMI": 0.03,
        "AMPLITUDE": 0.15, "VARIANCE": 0.3, "COSINE": 0.02, "ALIKENESS": 0.02,
    }  # fmt: skip
    written = {name: part.value for name, part in vars(margins).items() if isinstance(part, Margin)}
    assert written == declared


def test_a_fixed_margin_is_its_value():
    for margin, value in ((ACCURACY, 0.02), (AMPLITUDE, 0.15), (Margin(0.7, "why"), 0.7)):
        assert margin_of(replace(CLAIM, margin=margin), {}, tables=tables_of()) == (value, margin.reason)


@pytest.mark.parametrize(("image_size", "patch_size"), [(32, 4), (48, 8)])
def test_even_attention_reaches_the_mean_distance_of_two_patches(image_size, patch_size):
    study = load_params()
    study = study.model_copy(
        update={
            "data": study.data.model_copy(update={"image_size": image_size}),
            "vit": study.vit.model_copy(update={"patch_size": patch_size}),
        }
    )
    margin, reason = margin_of(replace(CLAIM, margin=DISTANCE), {}, tables=tables_of(study))
    places = np.arange(0, image_size, patch_size)
    away = [np.hypot(a - c, b - d) for a in places for b in places for c in places for d in places]
    assert margin == pytest.approx(0.05 * np.mean(away)) and reason == DISTANCE.reason


ARMS = {
    "cl": Arm(objective="contrastive", seeds=[0, 1]),
    "mim": Arm(objective="masked", seeds=[0]),
    "gone": Arm(objective="dino", seeds=[0]),
    "half": Arm(objective="masked", seeds=[0], stop_epoch=2),
}


def spread(levels):
    """A measure that has these values of each arm, by seed; none of any other."""

    def measure(tables, arm, *, lift, heads):
        if arm not in levels:
            raise MissingResult("not measured")
        return pd.Series([-1.0, 1.0]) * (heads == "mean") + levels[arm][tables.seed] * lift

    return replace(
        CLAIM, measure=measure, given={"lift": 2.0}, choices=(Choice("heads", ("mean", "median")),)
    )


@pytest.mark.parametrize(
    ("levels", "margin", "narrow"),
    [
        # Of the means over images and seeds, of the arms that are fully trained and measured.
        ({"cl": (0.004, 0.008), "mim": (0.001,), "half": (9.0,)}, 0.001, True),
        ({"cl": (0.001, 0.001), "mim": (0.006,)}, 0.001, True),
        ({"cl": (0.1, 0.3), "mim": (0.1,)}, 0.03, False),
        ({"cl": (0.015, 0.025), "mim": (0.005,)}, 0.03, False),  # as wide as the margin itself
        ({}, 0.03, False),
        ({"cl": (0.004, 0.008)}, 0.03, False),  # one arm has no range
    ],
)
def test_a_narrow_range_of_the_arms_has_a_tenth_of_it_as_margin(levels, margin, narrow):
    result, reason = margin_of(spread(levels), {"heads": "mean"}, tables=tables_of(**ARMS))
    assert result == pytest.approx(margin)
    below = "a tenth of the narrow range of all arms, 0.01, which is below the usual margin of 0.03"
    expected = below if narrow else NMI.reason
    assert reason == expected


def test_a_range_as_wide_as_the_margin_is_not_narrow():
    claim = replace(spread({"cl": (0.5, 0.5), "mim": (0.25,)}), margin=Margin(0.5, "half of it", "span"))
    assert margin_of(claim, {"heads": "median"}, tables=tables_of(**ARMS)) == (0.5, "half of it")
