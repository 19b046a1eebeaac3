"""Every panel of a figure becomes one complete image."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from stages.render.figures.style import new_figure, styled
from stages.render.page.figure_card import svg_bytes
from stages.render.page.panel_images import Box, Image, images_of, mark_panels, rows_of
from stages.render.page.svg_size import compact

WIDTH, HEIGHT = 8.0, 4.0


def grid(rows: int, columns: int) -> Figure:
    """Return a figure whose panels have a title, a row of dots and a clipped line."""
    with styled():
        figure = new_figure(width=WIDTH, height=HEIGHT)
        for place, axis in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            axis.plot(range(20), range(20), "o")
            axis.set(title=f"panel number {place}", xlim=(0, 10))
    return figure


def cut(figure: Figure) -> list[list[Image]]:
    """Return the images of a figure."""
    with styled():
        figure.draw_without_rendering()
    figure.set_layout_engine(None)
    width, height = (72 * inches for inches in figure.get_size_inches())
    rows = rows_of(mark_panels(figure), width=width, height=height)
    return images_of(svg_bytes(figure), rows)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 3)])
def test_every_panel_is_an_image(rows: int, columns: int) -> None:
    images = cut(grid(rows, columns))
    assert [len(row) for row in images] == [columns] * rows
    for place, image in enumerate(image for row in images for image in row):
        text = image.svg
        assert re.findall(r"panel number \d+", text) == [f"panel number {place}"]
        root = ET.fromstring(text)
        ids = [tag.attrib["id"] for tag in root.iter() if "id" in tag.attrib]
        references = re.findall(r"url\(#([^)]+)\)", text) + re.findall(r'href="#([^"]+)"', text)
        assert references and set(references) == set(ids) and len(ids) == len(set(ids))


def test_images_make_up_the_whole_figure() -> None:
    images = cut(grid(2, 3))
    frames = [[[float(number) for number in ET.fromstring(image.svg).attrib["viewBox"].split()]
               for image in row] for row in images]  # fmt: skip
    for row in frames:
        assert row[0][0] == 0 and row[-1][0] + row[-1][2] == pytest.approx(72 * WIDTH, abs=0.02)
        for one, other in pairwise(row):
            assert one[0] + one[2] == pytest.approx(other[0], abs=0.02)
            assert (one[1], one[3]) == (other[1], other[3])
    assert frames[0][0][3] + frames[1][0][3] == pytest.approx(72 * HEIGHT, abs=0.02)


def test_a_legend_above_panels_is_its_own_row() -> None:
    legend = Box(100, 0, 200, 20, ("panel2",))
    left, right = Box(0, 30, 190, 100, ("panel0",)), Box(210, 30, 400, 100, ("panel1",))
    rows = rows_of([left, right, legend], width=400, height=100)
    assert rows == [
        [Box(96, 0, 204, 25, ("panel2",))],
        [Box(0, 25, 200, 100, ("panel0",)), Box(200, 25, 400, 100, ("panel1",))],
    ]


def test_stacked_panels_stay_one_image() -> None:
    upper, lower = Box(50, 0, 400, 50, ("panel0",)), Box(0, 60, 400, 100, ("panel1",))
    assert rows_of([upper, lower], width=400, height=100) == [[Box(0, 0, 400, 100, ("panel0", "panel1"))]]


def test_a_row_of_dots_is_one_path() -> None:
    with styled():
        figure = new_figure(width=2, height=2)
        axis = figure.add_subplot()
        axis.set_axis_off()
        axis.plot([0, 1, 2], [0, 1, 0], linestyle="none", marker="o", color="#123456")
        axis.plot([0, 1, 2], [1, 0, 1], linestyle="none", marker="s", color="#654321")
    whole = svg_bytes(figure).decode()
    (image,) = cut(figure)[0]
    assert whole.count("<use") == 6 and "<use" not in image.svg
    for colour in ("#123456", "#654321"):
        uses = re.findall(rf'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*{colour}', whole)
        (path,) = re.findall(rf'<path d="([^"]+)" style="[^"]*{colour}', image.svg)
        starts = [tuple(map(float, start)) for start in re.findall(r"M([\d.]+) ([\d.]+)", path)]
        offsets = [(start[0] - float(x), start[1] - float(y))
                   for start, (x, y) in zip(starts, uses, strict=True)]  # fmt: skip
        for offset in offsets:  # a marker starts at its left or lower corner, the same of all
            assert offset == pytest.approx(offsets[0], abs=0.11)


def test_text_stays_text() -> None:
    (image,) = cut(grid(1, 1))[0]
    assert ">panel number 0</text>" in image.svg


def test_round_dots_keep_their_arcs_in_the_page() -> None:
    with styled():
        figure = new_figure(width=2, height=2)
        figure.add_subplot().plot([0, 1, 2], [0, 1, 0], marker="o")
    (image,) = cut(figure)[0]
    (path,) = re.findall(r' d="(M[^"]*a[^"]*)"', compact(image.svg))
    arcs = re.findall(r"a([^aMz]*)", path)
    assert len(arcs) == 6  # two of each dot
    assert all(len(arc.split()) == 7 and set(arc.split()[3:5]) <= {"0", "1"} for arc in arcs)
