"""The plotted numbers can be read from a figure."""

import numpy as np
from matplotlib.figure import Figure

from stages.render.page.numbers_read_off import plotted


def test_lines_and_cells_are_read_from_a_figure() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.set_title("Left", loc="left")
    left.plot([0, 1], [2, 3], label="CL")
    left.plot([0], [5], color="#112233")
    right.set_ylabel("block")
    right.imshow(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    table = plotted(figure)
    assert list(table) == ["panel", "series", "x", "y", "value"] and len(table) == 9
    lines = table[table["panel"] == "Left"]
    assert lines["series"].tolist() == ["CL", "CL", "#112233"] and lines["y"].tolist() == [2, 3, 5]
    cells = table[table["panel"] == "block"].set_index(["y", "x"])["value"]
    assert cells[1, 2] == 6 and cells[0, 1] == 2


def test_an_empty_figure_has_no_numbers() -> None:
    assert plotted(Figure()).empty
