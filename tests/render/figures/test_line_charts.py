"""Lines, bands and thin lines; the same bytes every time."""

import numpy as np
import pandas as pd
import pytest

from stages.render.figures.depth import depth_figure
from stages.render.figures.heads import head_figure
from stages.render.figures.line_charts import frame_of
from stages.render.figures.losses import loss_figure
from stages.render.figures.paper import (
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


def test_bands_are_cut_where_they_would_flatten_the_lines() -> None:
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
