"""Captions follow the numbers."""

import pandas as pd

from stages.render.figures.captions import DOTS, LONGEST_ALT, NUMBERS, alt_text, bands, replicated
from stages.render.figures.depth import depth_alt, depth_caption
from stages.render.figures.heads import head_caption
from stages.render.figures.paper import distance


def test_captions_give_uncertainty_and_n() -> None:
    curves = pd.DataFrame(
        {"label": ["A", "A", "B", "B"], "block": [1, 2, 1, 2], "trainings": [1, 1, 3, 3], "images": 500}
    )
    assert depth_caption(curves, measure="M.", paper="theirs.") == (
        "M. Lines: mean over 3 trainings, 500 images; thin lines: single trainings; bands: 95 % t-intervals "
        "over trainings (A: one training, 95 % bootstrap intervals over images). Right: theirs."
    )
    alone = bands(curves[curves["label"] == "A"])
    assert alone == "One training per arm, 500 images; bands: 95 % bootstrap intervals over images."
    dots = bands(curves[curves["label"] == "B"], marks=DOTS)
    assert dots.startswith("Dots: mean over 3") and dots.endswith("bars: 95 % t-intervals over trainings.")
    more = pd.concat([curves, curves[:1].assign(label="C")])
    assert "(2 arms: one training" in bands(more)


def test_the_arm_with_fewer_trainings_is_named() -> None:
    assert replicated({"A": 5, "B": 5, "C": 3, "D": 1}) == "5 trainings (C: 3)"
    assert replicated({"A": 2, "B": 5, "C": 3, "D": 5}) == "2, 3 or 5 trainings"
    assert (replicated({"A": 4, "B": 4}), replicated({"A": 1})) == ("4 trainings", "")


def test_alternative_texts_name_the_arms_while_there_is_room_and_always_the_numbers() -> None:
    curves = pd.DataFrame({"label": ["A", "A", "B"]})
    assert depth_alt(curves, measure="m", paper=[distance()]) == (
        "Line chart of m against depth, one line per arm, beside the paper's MoCo v3. Arms: A and B. "
        + NUMBERS
    )
    many = alt_text("Dots.", [f"an arm with a long name {place}" for place in range(20)])
    assert many == f"Dots. 20 arms. {NUMBERS}" and len(many) <= LONGEST_ALT


def test_one_head_and_one_training_are_singular_and_arms_may_differ() -> None:
    heads = pd.DataFrame({"label": ["A", "B", "B"], "head": [1, 1, 2], "seed": 0})
    assert "(dots; 1 or 2 heads per block, 1 training per arm)" in head_caption(heads, measure="Entropy")
    assert "(dots; 1 head per block, " in head_caption(heads[:1], measure="Entropy")
