"""Names beside lines and points do not collide."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from stages.render.figures.depth import depth_figure
from stages.render.figures.name_placing import label_ends, label_points, settle, spread
from stages.render.figures.paper import (
    distance,
)
from stages.render.figures.style import palette, styled
from tests.render.figures.made_up import arms, curves_of


@given(
    st.lists(st.tuples(st.floats(-0.5, 1.5), st.floats(0.01, 0.08)), min_size=1, max_size=12),
)
def test_spread_keeps_order_and_distance(boxes: list[tuple[float, float]]) -> None:
    centres, heights = [box[0] for box in boxes], [box[1] for box in boxes]
    places = spread(centres, heights, low=0, high=1)
    order = sorted(range(len(boxes)), key=lambda index: places[index])
    assert [centres[index] for index in order] == sorted(centres)
    for below, above in pairwise(order):
        assert places[above] - places[below] >= (heights[above] + heights[below]) / 2 - 1e-9
    for place, height in zip(places, heights, strict=True):
        assert place - height / 2 >= -1e-9 and place + height / 2 <= 1 + 1e-9


def test_spread_leaves_free_labels_alone() -> None:
    assert spread([0.9, 0.1, 0.5], [0.05] * 3, low=0, high=1) == pytest.approx([0.9, 0.1, 0.5])


@pytest.mark.parametrize("count", [2, 12])
def test_labels_at_line_ends_do_not_overlap(count: int) -> None:
    labels = [f"arm_{place}" for place in range(count)]
    figure = depth_figure(
        curves_of(labels), inks=palette(arms(*["masked"] * count)), ylabel="y", paper=[distance()]
    )
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[0].texts if text.get_text() in labels]
    assert len(texts) == count
    boxes = [Text.get_window_extent(text) for text in texts]  # without the line that leads to it
    for place, box in enumerate(boxes):
        assert box.x0 > figure.axes[0].bbox.x1
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])


@pytest.mark.parametrize(("step", "beside"), [(9.0, False), (1e-3, True)])
def test_crowded_points_are_named_beside_the_axis(step: float, beside: bool) -> None:
    points = [(f"point {place}", step * place, 0.5, "#000000") for place in range(3)]
    points += [(f"far {place}", 100.0 * place, 0.6, "#000000") for place in range(3)]
    if beside:
        points += [(f"more {place}", step * place, 0.5, "#000000") for place in range(9)]
    with styled():
        figure = Figure(layout="constrained")
        axis = figure.add_subplot()
        axis.plot([point[1] for point in points], [point[2] for point in points], "o")
        axis.margins(0.3)
        settle(figure)
        label_points(axis, points)
    figure.draw_without_rendering()
    assert len(axis.texts) == len(points)
    outside = [Text.get_window_extent(text).x0 > axis.bbox.x1 for text in axis.texts]
    assert all(outside) if beside else not any(outside)


def test_nothing_to_label() -> None:
    axis = Figure().add_subplot()
    label_ends(axis, [])
    label_points(axis, [])
    assert not axis.texts
