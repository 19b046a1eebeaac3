"""Every arm has one legible ink."""

import numpy as np

from stages.render.figures.style import COLOURS, CONTROL, darker, palette
from tests.render.figures.made_up import arms
from tests.render.synthetic import study_of


def contrast(colour: str) -> float:
    """Return the WCAG contrast of a colour on white."""
    parts = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return 1.05 / (float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)


def test_inks_are_distinct_steady_and_legible() -> None:
    few = palette(arms("random", "contrastive", "masked"))
    more = palette(arms("random", "contrastive", "masked", *["hybrid"] * 17))
    assert len(set(more.values())) == 20
    assert len({(ink.colour, ink.marker) for ink in more.values()}) == 20  # points have no line
    assert {name: more[name] for name in few} == few
    assert few["arm_0"].colour == CONTROL and few["arm_0"].line != "-" and few["arm_1"].line == "-"
    assert all(contrast(colour) >= 3 and contrast(darker(colour)) >= 4.5 for colour in (*COLOURS, CONTROL))


def test_inks_have_the_labels_of_the_arms() -> None:
    assert list(palette(study_of({"a": "masked", "b": "random"}, labels={"a": "MIM"}))) == ["MIM", "b"]
