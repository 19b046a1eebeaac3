"""Figures: one ink per arm, labels that do not collide, the same bytes every time."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from stages.render.curves import depth_figure, head_figure
from stages.render.figures import figure_html, image_bytes, show
from stages.render.labels import label_ends, label_points, settle, spread
from stages.render.outcomes import loss_figure, trade_off_figure
from stages.render.paper import (
    distance,
    hybrid_sweep,
    layerwise,
    log_amplitude,
    methods,
    mutual_information,
    trade_offs,
)
from stages.render.style import COLOURS, CONTROL, darker, palette, styled
from stages.study.errors import StudyError
from stages.study.study import Study
from tests.render.synthetic import ROOT, study_of


def arms(*objectives: str) -> Study:
    named = {f"arm_{place}": {"objective": name, "cl_weight": 0.2} for place, name in enumerate(objectives)}
    return study_of(named)


def curves_of(labels: list[str], blocks: int = 4) -> pd.DataFrame:
    parts = []
    for place, label in enumerate(labels):
        mean = np.linspace(1, 2 + 0.01 * place, blocks)
        columns = {"label": label, "block": range(1, blocks + 1), "depth": np.arange(1, blocks + 1) / blocks}
        bands = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "trainings": 1, "images": 9}
        parts.append(pd.DataFrame(columns | bands))
    return pd.concat(parts, ignore_index=True)


def contrast(colour: str) -> float:
    """WCAG contrast of a colour on white."""
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


def test_each_training_is_a_thin_line_where_there_are_several() -> None:
    several = curves_of(["arm_0"]).assign(trainings=2, seed_0=1.0, seed_4=2.0, seed_9=np.nan)
    for curves, thin in ((several, 2), (curves_of(["arm_0"]).assign(seed_0=1.0), 0)):
        axis = depth_figure(curves, inks=palette(arms("masked")), ylabel="y").axes[0]
        assert len([line for line in axis.lines if line.get_linewidth() < 1]) == thin


@given(
    st.lists(st.tuples(st.floats(-0.5, 1.5), st.floats(0.01, 0.08)), min_size=1, max_size=12),
)
def test_spread_keeps_order_and_distance(boxes: list[tuple[float, float]]) -> None:
    wanted, heights = [box[0] for box in boxes], [box[1] for box in boxes]
    places = spread(wanted, heights, low=0, high=1)
    order = sorted(range(len(boxes)), key=lambda index: places[index])
    assert [wanted[index] for index in order] == sorted(wanted)
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


@pytest.mark.parametrize("form", ["png", "svg"])
def test_figures_have_stable_bytes(form: str) -> None:
    def draw() -> bytes:
        inks = palette(arms("random", "masked"))
        return image_bytes(
            depth_figure(curves_of(list(inks)), inks=inks, ylabel="y", paper=log_amplitude()), form=form
        )

    first = draw()
    assert first == draw()
    assert b"dc:date" not in first


def test_show_writes_files_and_refuses_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([1, 2])
    show(figure, name="line", alt="a line", caption="A line.", folder=tmp_path / "new")
    assert (tmp_path / "new/line.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "new/line.svg").read_bytes()
    assert (tmp_path / "new/line.csv").read_text().splitlines()[1:] == [
        "panel 1,#1f77b4,0,1",
        "panel 1,#1f77b4,1,2",
    ]
    for empty in ({"alt": " ", "caption": "c"}, {"alt": "a", "caption": ""}):
        with pytest.raises(StudyError, match="needs both alt and caption"):
            show(figure, name="line", **empty)


def test_figure_html_escapes_and_embeds() -> None:
    drawing = b'<svg id="a">\n<!-- 50 % & \xe2\x88\x92 -->\n<use href="#b"/></svg>'
    html = figure_html(drawing, name="x", alt='a "b" <c>', caption="d & e, Fig. 3", width=10, height=5)
    assert 'alt="a &#34;b&#34; &lt;c&gt;"' in html and "d &amp; e, Fig.\u00a03" in html
    image = BeautifulSoup(html, "html.parser").img
    kind, _, data = str(image["src"]).partition(",") if image else ("", "", "")
    assert kind == "data:image/svg+xml" and not set('"#<>&') & set(data)
    assert unquote(data) == drawing.decode().replace("\n", " ").replace('"', "'")
    spoken = figure_html(drawing + b"<!-- ' -->", name="x", alt="a", caption="c", width=10, height=5)
    assert "%22a%22" in spoken and "&#39;" not in spoken


def test_small_studies_can_be_drawn() -> None:
    one = palette(arms("masked"))
    label = next(iter(one))
    curves = curves_of([label], blocks=1)
    image_bytes(depth_figure(curves, inks=one, ylabel="y"), form="svg")
    heads = curves.assign(head=1, seed=0)
    image_bytes(head_figure(heads, curves, inks=one, ylabel="y"), form="svg")
    history = {label: pd.DataFrame({"seed": [0], "epoch": [1], "loss": [0.5], "lr": [1.0]})}
    image_bytes(loss_figure(history, inks=one), form="svg")
    nothing = pd.DataFrame(
        columns=["label", "evaluation", "labels", "mean", "low", "high", "chance", "trainings"]
    )
    image_bytes(trade_off_figure(nothing, inks=one, probe="linear", paper=trade_offs()), form="svg")


def test_numbers_of_the_paper() -> None:
    assert len(distance().values) == len(distance().depth) == 12 and distance().values[-1] == 113.6
    assert len(mutual_information().values) == 12 and max(mutual_information().values) == 0.322
    moco, simmim = log_amplitude()
    assert (len(moco.values), moco.values[-1], simmim.values[-1]) == (13, -2.51, -2.31)
    probed = {curve.method: curve.values for curve in layerwise()}
    assert [len(values) for values in probed.values()] == [12] * 3
    assert max(probed["SimMIM"]) - probed["SimMIM"][-1] == pytest.approx(11.5)
    # MoCo v3 is above SimMIM from block 8, above MAE in blocks 5 to 8 and from block 10.
    for other, above in (("SimMIM", [8, 9, 10, 11, 12]), ("MAE", [5, 6, 7, 8, 10, 11, 12])):
        pairs = zip(probed["MoCo v3"], probed[other], strict=True)
        assert [block for block, (ours, theirs) in enumerate(pairs, start=1) if ours > theirs] == above
    assert {point.method: point.linear for point in methods()}["MoCo v3"] == 76.7
    assert hybrid_sweep()[0.2].finetuned == 82.29


def test_rendering_needs_no_torch() -> None:
    """Every notebook starts a process that imports this room: torch would be most of its time."""
    modules = [f"stages.render.{path.stem}" for path in sorted((ROOT / "stages/render").glob("[a-z]*.py"))]
    code = (
        f"import sys, {', '.join(modules)}; sys.exit(int('torch' in sys.modules or 'scipy' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
