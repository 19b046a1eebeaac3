"""A measure against depth: this study on the left, the curves of the paper in grey on the right."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.render.encoder_size import builds
from stages.render.figures.captions import alt_text, bands
from stages.render.figures.line_charts import DEPTH, Inks, draw_curves, label_line_ends, log_axis
from stages.render.figures.name_placing import label_ends, lines_of, settle
from stages.render.figures.paper import SETTING, PaperCurve
from stages.render.figures.style import NARROW, PAPER, darker, new_figure, styled
from stages.render.words import listed
from stages.results.analysis_curves import uniform_distance
from stages.study.study import Study


class Uniform(NamedTuple):
    """The distance of uniform attention, and the side of a patch."""

    distance: float  # px
    patch_size: int  # px


def uniform(*, image_size: int, patch_size: int) -> Uniform:
    """Return the distance of uniform attention over square images. Sizes: px."""
    distance = uniform_distance(grid=image_size // patch_size, patch_size=patch_size)
    return Uniform(distance, patch_size)


def reach(study: Study) -> tuple[Uniform, Uniform] | None:
    """Return uniform attention of a study and of the paper; None if the study imports all its encoders."""
    if not builds(study):
        return None
    own = uniform(image_size=study.data.image_size, patch_size=study.vit.patch_size)
    return own, uniform(image_size=224, patch_size=16)


def depth_figure(
    curves: pd.DataFrame,
    *,
    inks: Inks,
    ylabel: str,
    paper: Sequence[PaperCurve] = (),
    paper_ylabel: str = "",
    share_y: bool = False,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    reach: tuple[Uniform, Uniform] | None = None,
) -> Figure:
    """Draw a measure against relative depth, one line per label with its interval, beside the paper.

    curves:  label, depth, mean, low, high
    paper_ylabel: of the panel of the paper; empty: the same
    share_y: whether both panels have one scale, for measures that are comparable between grids of patches
    log:     whether the scale is logarithmic
    limits:  ends of the scale; None: from the data
    reach:   uniform attention of this study and of the paper, for distances; scales run from 0 to at least it
    """
    height = max(3.3, 1.0 + 0.2 * lines_of(curves["label"]))
    with styled():
        if not paper:
            figure = new_figure(width=NARROW, height=height)
            axis = figure.add_subplot()
            draw_curves(axis, curves, inks=inks, x="depth", log=log)
            axis.set(xlabel=DEPTH, ylabel=ylabel, xlim=(-0.02, 1.03))
            settle(figure)
            label_line_ends(axis, curves, inks=inks, x="depth")
            return figure
        figure = new_figure(height=height)
        study_panel, paper_panel = figure.subplots(1, 2, sharey=share_y)
        draw_curves(study_panel, curves, inks=inks, x="depth", log=log)
        study_panel.set_title("This study")
        for curve, style in zip(paper, ("-", (0, (4, 1.5)), (0, (1, 1))), strict=False):
            paper_panel.plot(
                curve.depth, curve.values, color=PAPER, linestyle=style, marker="o", markersize=3.5
            )
        paper_panel.set_title(f"Paper ({SETTING})", color=darker(PAPER, 0.3))
        if log:
            log_axis(paper_panel)
        for axis, uniform in zip((study_panel, paper_panel), reach or (), strict=False):
            _from_zero_to(axis, uniform)
        for axis in (study_panel, paper_panel):
            axis.set(xlabel=DEPTH, xlim=(-0.02, 1.03), ylabel=ylabel)
            axis.tick_params(labelleft=True)
            axis.set_ylim(limits)
        paper_panel.set_ylabel(paper_ylabel or ylabel)
        settle(figure)
        label_line_ends(study_panel, curves, inks=inks, x="depth")
        label_ends(paper_panel, [(curve.method, curve.depth[-1], curve.values[-1], PAPER) for curve in paper])
    return figure


def _from_zero_to(axis: Axes, uniform: Uniform) -> None:
    """Scale a panel from 0 to uniform attention or the highest curve, with ticks at whole patches."""
    highest = max(uniform.distance, float(axis.dataLim.y1))
    axis.axhline(uniform.distance, color=PAPER, linewidth=1, linestyle=(0, (1, 2)))
    axis.annotate("uniform attention", (0.02, uniform.distance), xycoords=("axes fraction", "data"),
                  xytext=(0, 3), textcoords="offset points", fontsize=8.5,
                  color=darker(PAPER, 0.3))  # fmt: skip
    side = uniform.patch_size
    step = max(1, round(highest / side / 5))
    ticks = [side * patches for patches in range(0, int(highest / side) + 1, step)]
    axis.set_yticks(ticks, [f"{tick} ({tick // side})" for tick in ticks])
    axis.set_ylim(0, max(1.12 * uniform.distance, 1.05 * highest))


def depth_caption(curves: pd.DataFrame, *, measure: str, paper: str = "") -> str:
    """Return the caption of a figure against depth: the measure, its uncertainty, the panel of the paper.

    curves: as `analysis_curves.block_curves` returns them
    """
    caption = f"{measure} {bands(curves)}"
    return f"{caption} Right: {paper}" if paper else caption


def depth_alt(curves: pd.DataFrame, *, measure: str, paper: Sequence[PaperCurve] = ()) -> str:
    """Return the alternative text of a figure against depth."""
    beside = f", beside the paper's {listed(curve.method for curve in paper)}" if paper else ""
    return alt_text(f"Line chart of {measure} against depth, one line per arm{beside}.", curves["label"])
