"""Thirty arms, with names in any script: all are told apart and drawn, and nobody is warned of fonts."""

import warnings
from xml.etree import ElementTree

import pytest

from stages.render.figures.depth import depth_figure
from stages.render.figures.style import palette
from stages.render.page.figure_card import image_bytes
from stages.render.sections.title import title_block
from stages.study.errors import ParamsError
from tests.render.figures.made_up import curves_of
from tests.render.synthetic import study_of
from tests.render.synthetic_claims import manifest

NAMES = ["对比学习", "マスク", "تعلم", "למידה", "😀 mask", "Ünïcödé", "हाइब्रिड", "ทดสอบ", "x" * 80, "a & <b>"]
LABELS = {f"arm_{number}": f"{number} {NAMES[number % len(NAMES)]}"[:80] for number in range(30)}


@pytest.fixture(scope="module")
def study():
    return study_of(dict.fromkeys(LABELS, "masked"), labels=LABELS, seeds=[0])


def test_thirty_arms_have_thirty_inks_and_names_in_a_figure_that_grows(study):
    inks = palette(study)
    assert len({(ink.colour, ink.line, ink.marker) for ink in inks.values()}) == 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = depth_figure(curves_of(list(inks)), inks=inks, ylabel="y")
        drawing, picture = image_bytes(figure, form="svg"), image_bytes(figure, form="png")
    text = "".join("".join(ElementTree.fromstring(drawing).itertext()).split())
    assert all("".join(label.split()) in text for label in LABELS.values())
    assert picture.startswith(b"\x89PNG") and figure.get_figheight() > 6
    assert title_block(study, manifest(), inks=inks).count('<svg class="swatch"') == 30


def test_a_name_that_no_figure_has_room_for_is_refused():
    with pytest.raises(ParamsError, match=r"labels\.arm_0 is 'xxx.* at most 80 characters"):
        study_of({"arm_0": "masked"}, labels={"arm_0": "x" * 81})
