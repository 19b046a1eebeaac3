"""Lines with a band and a thin line per training, dots with bars, and panels to draw them in."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.render.figures.name_placing import label_ends
from stages.render.figures.style import Ink, darker, new_figure
from stages.results.seeds import PREFIX, single_trainings

Inks = Mapping[str, Ink]
DEPTH = "depth (block / number of blocks)"


def draw_curves(axis: Axes, curves: pd.DataFrame, *, inks: Inks, x: str) -> None:
    """Draw one line per label with its interval as a band, and a thin line per training."""
    low, high = frame_of(curves)
    for label, curve in curves.groupby("label", sort=False):
        ink = inks[str(label)]
        ends = (curve[end].clip(low, high) for end in ("low", "high"))
        axis.fill_between(curve[x], *ends, color=ink.colour, alpha=0.18, linewidth=0)
        draw_trainings(axis, curve, ink=ink, x=x)
        axis.plot(curve[x], curve["mean"], color=ink.colour, linestyle=ink.line, marker=ink.marker)


def frame_of(curves: pd.DataFrame) -> tuple[float, float]:
    """Return where bands are cut: as far beyond the lines as the lines are apart.

    Two or three trainings have intervals many times as wide as the figure.
    """
    lines = curves[["mean", *single_trainings(curves)]]
    low, high = float(lines.min(axis=None)), float(lines.max(axis=None))
    reach = high - low
    return (low - reach, high + reach) if reach > 0 else (-math.inf, math.inf)


def draw_trainings(axis: Axes, curve: pd.DataFrame, *, ink: Ink, x: str) -> None:
    """Draw a thin line for each training of one curve, where there are several."""
    single = single_trainings(curve)
    for name in single if len(single) > 1 else ():
        axis.plot(curve[x], curve[name], color=ink.colour, linewidth=0.6, alpha=0.55)


def draw_ticks(
    axis: Axes, row: pd.Series, *, place: float, ink: Ink, scale: float = 1.0, size: float = 9.0
) -> None:
    """Draw a tick across for each training of one row of a dot chart, where there are several."""
    values = row[[name for name in row.index if str(name).startswith(PREFIX)]].dropna().astype(float)
    if len(values) > 1:
        axis.plot(scale * values, len(values) * [place], "|", color=ink.colour, markersize=size, alpha=0.7)


def label_line_ends(axis: Axes, curves: pd.DataFrame, *, inks: Inks, x: str) -> None:
    """Write each label where its line ends; beside arms of several trainings, one training is called that."""
    ends = []
    several = "trainings" in curves and curves["trainings"].gt(1).any()
    for label, curve in curves.groupby("label", sort=False):
        last = curve.loc[curve[x].idxmax()]
        alone = several and last["trainings"] == 1
        name = f"{label}, one training" if alone else str(label)
        ends.append((name, float(last[x]), float(last["mean"]), inks[str(label)].colour))
    label_ends(axis, ends)


def panels(count: int, *, height: float, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels of `height` inches, row by row."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(height=rows * height + 0.2)
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def share(axes: Sequence[Axes], *, ylabel: str) -> None:
    """The same scale in all panels; its name and numbers only where a row begins."""
    low = min(axis.get_ylim()[0] for axis in axes)
    high = max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:
        axis.set_ylim(low, high)
        spec = axis.get_subplotspec()
        if spec is not None and spec.is_first_col():
            axis.set_ylabel(ylabel)
        else:
            axis.tick_params(labelleft=False)


def title_of(axis: Axes, label: str, ink: Ink) -> None:
    """Head a panel with a label in its own colour."""
    axis.set_title(label, color=darker(ink.colour))


def whole_ticks(axis: Axes) -> None:
    """Print whole numbers only, for blocks and epochs."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
