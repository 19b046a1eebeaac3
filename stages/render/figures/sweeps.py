"""Panels with points along the weight λ or the size of the encoder."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from stages.render.figures.captions import alt_text
from stages.render.figures.line_charts import Inks, log_axis, same_limits
from stages.render.figures.name_placing import label_ends, settle
from stages.render.figures.style import NARROW, PAPER, TEXT, WIDE, darker, new_figure, styled
from stages.render.words import listed, number

Point = tuple[float, float, float]


class Line(NamedTuple):
    """A line in the ink of a label, or in grey for the paper (ink None)."""

    name: str
    ink: str | None
    points: dict[float, Point]  # x -> mean, low, high; x NaN: a horizontal line
    across: Mapping[float, tuple[float, float]] | None = None  # x -> interval of x


class Panel(NamedTuple):
    """One panel of a figure."""

    title: str
    ylabel: str
    xlabel: str
    lines: list[Line]
    log_y: bool = False
    above: tuple[
        tuple[float, str], ...
    ] = ()  # x and text of the ticks of a second axis, above a logarithmic one
    xlabel_above: str = ""


def sweep_figure(rows: Sequence[Sequence[Panel]], *, inks: Inks, log: bool = False) -> Figure:
    """Draw rows of panels; panels of this study with one measure share a scale.

    log: whether the horizontal axis is logarithmic
    """
    columns = max(len(row) for row in rows)
    with styled():
        figure = new_figure(width=WIDE if columns > 1 else NARROW, height=0.3 + 2.7 * len(rows))
        grid = figure.subplots(len(rows), columns, squeeze=False)
        drawn: list[tuple[Axes, Panel]] = []
        for axes, row in zip(grid, rows, strict=True):
            drawn += zip(axes, row, strict=False)
            for spare in axes[len(row) :]:
                spare.remove()
        for axis, panel in drawn:
            _draw(axis, panel, inks=inks, log=log)
        for measure in dict.fromkeys(panel.ylabel for _, panel in drawn):
            same_limits([axis for axis, panel in drawn if panel.ylabel == measure and _of_study(panel)])
        settle(figure)
        for axis, panel in drawn:
            label_ends(axis, [_end(axis, line, inks=inks) for line in panel.lines])
    return figure


def sweep_rows(rows: Sequence[Sequence[Panel]]) -> pd.DataFrame:
    """Return every point: panel, measure, line, x (missing for a horizontal line), mean, low, high."""
    return pd.DataFrame(
        [
            (panel.title, panel.ylabel, line.name, x, *point)
            for row in rows
            for panel in row
            for line in panel.lines
            for x, point in line.points.items()
        ],
        columns=["panel", "measure", "line", "x", "mean", "low", "high"],
    )


def sweep_alt(rows: Sequence[Sequence[Panel]]) -> str:
    """Return the alternative text of a sweep."""
    measures = listed(dict.fromkeys(panel.ylabel for row in rows for panel in row))
    lines = [line.name for row in rows for panel in row for line in panel.lines if line.ink]
    return alt_text(f"Line charts of {measures} against {rows[0][0].xlabel}.", lines)


def _draw(axis: Axes, panel: Panel, *, inks: Inks, log: bool) -> None:
    for line in panel.lines:
        colour, marker, style = (
            (PAPER, "o", "-")
            if line.ink is None
            else (inks[line.ink].colour, inks[line.ink].marker, inks[line.ink].line)
        )
        for x, (mean, low, high) in line.points.items():
            if math.isnan(x):
                axis.axhspan(low, high, color=colour, alpha=0.12, linewidth=0)
                axis.axhline(mean, color=colour, linestyle=style, linewidth=1.2)
            else:
                axis.plot([x, x], [low, high], color=colour, linewidth=1)
        joined = [(x, mean) for x, (mean, *_) in line.points.items() if not math.isnan(x)]
        axis.plot(*zip(*joined, strict=True) if joined else ((), ()), color=colour, linestyle=style,
                  marker=marker, linewidth=1.4)  # fmt: skip
        for x, ends in (line.across or {}).items():
            axis.plot(ends, 2 * [line.points[x][0]], color=colour, linewidth=1)
    if log:
        axis.set_xscale("log")
    if panel.log_y:
        log_axis(axis)
    axis.margins(x=0.08, y=0.12)
    if panel.above:
        _decades(axis)
        _second_axis(axis, panel)
    else:
        axis.xaxis.set_minor_locator(NullLocator())
        # A single point may lie anywhere, so ticks are those of lines with several.
        several = [line.points for line in panel.lines if len(line.points) > 1]
        places = sorted({x for points in several for x in points if not math.isnan(x)})
        if log:
            axis.set_xticks(places, [number(x, digits=2) for x in places])
        else:  # λ; labels at every point would touch each other
            axis.set_xticks([0, 0.5, 1])
            axis.set_xticks(places, minor=True)
    axis.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    axis.set_title(panel.title, color=TEXT if _of_study(panel) else darker(PAPER, 0.3))


def _of_study(panel: Panel) -> bool:
    return any(line.ink for line in panel.lines)


def _decades(axis: Axes) -> None:
    """Give a logarithmic axis ticks at 1, 2 and 5 of each power of ten."""
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _second_axis(axis: Axes, panel: Panel) -> None:
    """Draw the second axis of a panel above it."""
    second = axis.secondary_xaxis("top")
    second.set_xticks([x for x, _ in panel.above], [text for _, text in panel.above])
    second.minorticks_off()
    second.set_xlabel(panel.xlabel_above)


def _end(axis: Axes, line: Line, *, inks: Inks) -> tuple[str, float, float, str]:
    x, (mean, *_) = list(line.points.items())[-1]
    colour = PAPER if line.ink is None else inks[line.ink].colour
    return line.name, axis.get_xlim()[1] if math.isnan(x) else x, mean, colour
