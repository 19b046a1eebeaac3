"""A smaller SVG shows the same drawing."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from stages.render.figures.style import new_figure, styled
from stages.render.page.figure_card import image_bytes
from stages.render.page.svg_size import FONTS, compact

DRAWING = """<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "y">
<svg xmlns:xlink="http://www.w3.org/1999/xlink"><defs><style>*{}</style></defs>
 <g id="figure_1"><g id="idle"><g id="empty"/><path id="mark" d="M 0.12345 -7.654321
L 12.3456 0
z
" style="fill: #ff0000; stroke: none"/></g>
 <g clip-path="url(#clip-1)"><use xlink:href="#mark" x="10.26" y="2.0" style="fill: #0000ff"/>
 <use xlink:href="#mark" x="11.26" y="2.0" style="fill: #0000ff"/>
 <use xlink:href="#mark" x="12.26" y="2.0" style="fill: #0000ff"/></g>
 <text style="font-family: 'DejaVu Sans'" transform="rotate(-0 1 2)" x="1"
 y="2">a #mark) of 10.2345</text></g>
 <clipPath id="clip-1"/></svg>"""


def test_ids_are_short_styles_are_shared_and_text_stays() -> None:
    small = compact(DRAWING)
    assert (
        re.search(r'd="M0?.12 -7.65L12.3 0z"', small)
        and 'class="a"' in small
        and ".a{fill:#ff0000;stroke:none}" in small
    )
    assert small.count("#0000ff") == 1 and re.search(r'<g class="b"><use href="#ia" x="10.3" y="2"/>', small)
    assert f"font-family:{FONTS}" in small and "a #mark) of 10.2345" in small
    assert ElementTree.fromstring(small).tag.endswith("svg")
    assert (
        "DOCTYPE" not in small
        and 'clip-path="url(#ib)"' in small
        and small.count("<g") == small.count("</g>")
    )


@pytest.mark.parametrize("points", [5, 500])
def test_a_figure_keeps_all_of_many_points(points: int) -> None:
    figure = new_figure(width=4, height=3)
    with styled():
        axis = figure.add_subplot()
        axis.plot(np.arange(points), np.sin(np.arange(points)), "o", color="#0072B2")
        axis.set_title("A title")
    svg = image_bytes(figure, form="svg").decode()
    ElementTree.fromstring(svg)  # whole, or it raises
    marks = re.findall(r'<use href="#(\w+)" x="[\d.]+" y="[\d.]+"/>', svg)
    assert max(map(marks.count, set(marks))) >= points and ">A title</text>" in svg
    assert all(f'id="{name}"' in svg for name in set(marks))
    assert len(svg) < 6000 + 40 * points
