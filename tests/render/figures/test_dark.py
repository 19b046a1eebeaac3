"""Figures keep their hues and their contrast on dark pages."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.render.figures.dark import DARK_INK, GROUND, LIGHT_INK, contrast, on_dark, with_dark
from stages.render.figures.style import COLOURS, CONTROL, PAPER, TEXT, darker


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)  # the grey that just fails AA
    assert contrast("#0072B2", "#0072B2") == 1


@pytest.mark.parametrize("colour", [*COLOURS, CONTROL, PAPER])
def test_lines_and_names_have_contrast_on_dark_pages(colour: str) -> None:
    assert contrast(on_dark(colour), GROUND) >= 3
    assert contrast(on_dark(darker(colour)), GROUND) >= 4.5


def test_arms_are_distinguishable_on_dark_pages() -> None:
    assert len({on_dark(colour) for colour in COLOURS}) == len(COLOURS)


def test_black_and_white_are_swapped() -> None:
    assert on_dark("#FFFFFF") == GROUND and contrast(on_dark(TEXT), GROUND) > 10


@given(st.integers(0, 0xFFFFFF))
def test_contrast_is_kept(number: int) -> None:
    colour = f"#{number:06X}"
    expected = min(contrast(colour, "#FFFFFF"), 11)
    assert contrast(on_dark(colour), GROUND) == pytest.approx(expected, rel=0.12)


def test_cells_and_images_do_not_change() -> None:
    svg = f'<svg><defs/><g style="fill: {LIGHT_INK.lower()}; stroke: {DARK_INK.lower()}"/></svg>'.encode()
    assert with_dark(svg) == svg
    inked = b'<svg><defs></defs><g style="fill: #0072b2; stroke: none"/></svg>'
    rules = re.findall(rb'\[style\*="(.*?)"\]', with_dark(inked))
    assert rules == [b"fill: #0072b2"] and with_dark(inked).count(b"<style") == 1
    classed = with_dark(
        b"<svg><defs><style>.a{fill:none;stroke:#0072b2}.b{fill:#010101}</style></defs></svg>"
    )
    assert (
        re.findall(rb"\.(\w)\{", classed) == [b"a", b"b", b"a"]
        and f"stroke:{on_dark('#0072b2')}".encode() in classed
    )
