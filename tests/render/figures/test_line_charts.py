"""Line charts: lines, bands, single trainings, and stable bytes."""

import warnings

import numpy as np
import pandas as pd
import pytest

from stages.render.figures.depth import depth_figure, uniform
from stages.render.figures.heads import head_figure
from stages.render.figures.line_charts import below_one, frame_of, power_of_ten
from stages.render.figures.losses import loss_figure, loss_parts
from stages.render.figures.paper import (
    UNIFORM_DISTANCE,
    distance,
    log_amplitude,
    trade_offs,
)
from stages.render.figures.style import palette
from stages.render.figures.trade_off import trade_off_figure
from stages.render.page.figure_card import image_bytes
from tests.render.figures.made_up import arms, curves_of


def test_each_training_is_a_thin_line_where_there_are_several() -> None:
    several = curves_of(["arm_0"]).assign(trainings=2, seed_0=1.0, seed_4=2.0, seed_9=np.nan)
    for curves, thin in ((several, 2), (curves_of(["arm_0"]).assign(seed_0=1.0), 0)):
        axis = depth_figure(curves, inks=palette(arms("masked")), ylabel="y").axes[0]
        assert len([line for line in axis.lines if line.get_linewidth() < 1]) == thin


def test_bands_have_limits_that_keep_the_lines_readable() -> None:
    curves = curves_of(["arm_0"]).assign(low=-1000.0, high=1000.0)
    low, high = depth_figure(curves, inks=palette(arms("masked")), ylabel="y").axes[0].get_ylim()
    assert -0.5 < low < 0.1 and 2.9 < high < 3.5  # the line goes from 1 to 2
    assert frame_of(curves.assign(mean=1.0)) == (-np.inf, np.inf)


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


def test_distances_beyond_uniform_attention_are_in_the_panel() -> None:
    curves = curves_of(["arm_0"]).assign(mean=[40.0, 45.0, 50.0, 60.0], low=35.0, high=66.0)
    reach = (uniform(image_size=32, patch_size=4),) * 2
    inks = palette(arms("masked"))
    figure = depth_figure(curves, inks=inks, ylabel="px", paper=[distance()], reach=reach)
    assert figure.axes[0].get_ylim() == (0, pytest.approx(1.05 * 66))
    assert figure.axes[0].get_yticks().max() == 60


def test_a_measure_of_collapse_is_no_term_of_the_loss() -> None:
    one = palette(arms("masked"))
    history = pd.DataFrame({"seed": 0, "epoch": [1, 2], "loss": [0.5, 0.4], "spread": [1.0, 0.9]})
    figure = loss_figure({next(iter(one)): history}, inks=one)
    assert len(figure.axes[0].lines) == 1
    assert loss_parts(history.assign(masked=0.1)) == ["masked"]


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


def test_one_minus_a_value_stays_inside_its_interval() -> None:
    curves = curves_of(["arm_0"]).assign(mean=0.9, low=0.8, high=0.97, seed_0=0.95, seed_1=0.85)
    turned = below_one(curves)
    assert turned[["mean", "low", "high", "seed_0"]].iloc[0].tolist() == pytest.approx([0.1, 0.03, 0.2, 0.05])
    axis = depth_figure(turned, inks=palette(arms("masked")), ylabel="1 − y", log=True).axes[0]
    assert axis.get_yscale() == "log" and axis.lines[-1].get_ydata() == pytest.approx([0.1] * 4)
    assert [line.get_ydata()[0] for line in axis.lines[:2]] == pytest.approx([0.05, 0.15])


def test_bands_on_a_logarithmic_axis_stay_above_0() -> None:
    curves = curves_of(["arm_0"]).assign(mean=[0.1, 0.2, 0.3, 0.4], low=-1.0, high=5.0)
    assert frame_of(curves, log=True) == pytest.approx((0.1 / 4, 0.4 * 4))
    axis = depth_figure(curves, inks=palette(arms("masked")), ylabel="y", log=True).axes[0]
    assert axis.get_ylim()[0] > 0.01


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "0.05"), (100.0, "100"), (1e-4, "10⁻⁴"), (2e-5, "2 × 10⁻⁵")]
)
def test_ticks_of_a_logarithmic_axis(value: float, text: str) -> None:
    assert power_of_ten(value) == text


def test_distances_run_from_0_to_uniform_attention_in_px_and_patches() -> None:
    ours, theirs = uniform(image_size=32, patch_size=4), uniform(image_size=224, patch_size=16)
    assert theirs.distance == pytest.approx(UNIFORM_DISTANCE, abs=0.005)
    assert ours.distance == pytest.approx(16.55, abs=0.005)
    figure = depth_figure(
        curves_of(["arm_0"]),
        inks=palette(arms("masked")),
        ylabel="px",
        paper=[distance()],
        reach=(ours, theirs),
    )
    for axis, reach in zip(figure.axes, (ours, theirs), strict=True):
        low, high = axis.get_ylim()
        assert low == 0 and reach.distance < high < 1.2 * reach.distance
        assert any(list(line.get_ydata()) == [reach.distance] * 2 for line in axis.lines)
        for place, tick in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True):
            assert tick.get_text() == f"{place:g} ({place / reach.patch_size:g})"


def test_values_that_are_all_0_have_an_axis_without_logarithm_or_warning() -> None:
    curves = curves_of(["arm_0"]).assign(mean=0.0, low=0.0, high=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = depth_figure(curves, inks=palette(arms("masked")), ylabel="y", log=True)
        image_bytes(figure, form="png")
    assert figure.axes[0].get_yscale() == "linear"
