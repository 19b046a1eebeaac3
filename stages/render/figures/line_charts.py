"""Line charts: lines with intervals and single trainings, axes, panels and colour bars."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from stages.render.figures.name_placing import label_ends
from stages.render.figures.style import NARROW, WIDE, Ink, darker, new_figure
from stages.results.seeds import PREFIX, single_trainings

Inks = Mapping[str, Ink]
DEPTH = "depth (block / number of blocks)"


def draw_curves(axis: Axes, curves: pd.DataFrame, *, inks: Inks, x: str, log: bool = False) -> None:
    """Draw one line per label with its interval as a band, and a thin line per training.

    log: whether the axis is logarithmic
    """
    low, high = frame_of(curves, log=log)
    for label, curve in curves.groupby("label", sort=False):
        ink = inks[str(label)]
        ends = [curve[end].clip(low, high) for end in ("low", "high")]
        axis.fill_between(curve[x], *ends, color=ink.colour, alpha=0.18, linewidth=0)
        if len(curve) == 1:  # a band needs two points
            axis.plot(2 * list(curve[x]), [*ends[0], *ends[1]], color=ink.colour, linewidth=1)
        draw_trainings(axis, curve, ink=ink, x=x, log=log)
        axis.plot(curve[x], curve["mean"], color=ink.colour, linestyle=ink.line, marker=ink.marker)
    if log:
        log_axis(axis)


def frame_of(curves: pd.DataFrame, *, log: bool = False) -> tuple[float, float]:
    """Return the lower and upper limit of the bands.

    Bands extend beyond the lines by at most the range of the lines; on a logarithmic axis at most tenfold.
    Intervals over two or three trainings can be many times wider than the figure.
    """
    lines = curves[["mean", *single_trainings(curves)]]
    if log:
        lines = lines[lines > 0]
        if not lines.notna().to_numpy().any():
            return -math.inf, math.inf
        low, high = float(lines.min(axis=None)), float(lines.max(axis=None))
        factor = min(high / low, 10.0)
        return low / factor, high * factor
    low, high = float(lines.min(axis=None)), float(lines.max(axis=None))
    reach = high - low
    return (low - reach, high + reach) if reach > 0 else (-math.inf, math.inf)


def log_axis(axis: Axes) -> None:
    """Make the vertical axis of a panel logarithmic, with readable ticks, if any drawn value is above 0."""
    if not math.isfinite(axis.dataLim.minposy):
        return
    axis.set_yscale("log")
    low, high = map(math.log10, axis.get_ylim())
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high - low < 2 else (1.0,)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.yaxis.set_minor_formatter(NullFormatter())


def power_of_ten(value: float) -> str:
    """Return the label of a tick: a power of ten below a thousandth, otherwise the number."""
    if value >= 1e-3:
        return f"{value:g}"
    sign = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    factor, power = f"{value:.0e}".split("e")
    digits = str(int(power)).translate(sign)
    return f"10{digits}" if factor == "1" else f"{factor} × 10{digits}"


def below_one(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of 1 minus each value, for quantities near 1 on a logarithmic axis."""
    ends = {"low": 1 - curves["high"], "high": 1 - curves["low"]}
    means = {name: 1 - curves[name] for name in ("mean", *single_trainings(curves))}
    return curves.assign(**ends, **means)


def draw_trainings(axis: Axes, curve: pd.DataFrame, *, ink: Ink, x: str, log: bool = False) -> None:
    """Draw a thin line for each training of a curve that has several.

    log: whether the axis is logarithmic; values of 0, from rounding, then leave a gap
    """
    single = single_trainings(curve)
    for name in single if len(single) > 1 else ():
        values = curve[name].where(curve[name] > 0) if log else curve[name]
        axis.plot(curve[x], values, color=ink.colour, linewidth=0.6, alpha=0.55)


def draw_ticks(axis: Axes, row: pd.Series, *, place: float, ink: Ink, size: float = 9.0) -> None:
    """Draw a tick for each training of a row of a dot chart that has several."""
    values = row[[name for name in row.index if str(name).startswith(PREFIX)]].dropna().astype(float)
    if len(values) > 1:
        axis.plot(values, len(values) * [place], "|", color=ink.colour, markersize=size, alpha=0.7)


def bar_lengths(values: ArrayLike, *, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Return the lengths of error bars below and above each value, at least 0 despite rounding: (2, n)."""
    lengths = np.stack([np.subtract(values, low), np.subtract(high, values)])
    return np.maximum(lengths, 0.0)


def label_line_ends(axis: Axes, curves: pd.DataFrame, *, inks: Inks, x: str) -> None:
    """Write each label at the end of its line; mark arms with one training beside arms with several."""
    ends = []
    several = "trainings" in curves and curves["trainings"].gt(1).any()
    for label, curve in curves.groupby("label", sort=False):
        last = curve.loc[curve[x].idxmax()]
        alone = several and last["trainings"] == 1
        name = f"{label}, one training" if alone else str(label)
        ends.append((name, float(last[x]), float(last["mean"]), inks[str(label)].colour))
    label_ends(axis, ends)


def panels(count: int, *, height: float, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels, row by row. height: of a panel, inches"""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(width=WIDE if columns > 1 else NARROW, height=rows * height + 0.2)
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def share(axes: Sequence[Axes], *, ylabel: str) -> None:
    """Give all panels one vertical scale; write its name at the first panel of each row."""
    same_limits(axes)
    for axis in axes:
        spec = axis.get_subplotspec()
        if spec is not None and spec.is_first_col():
            axis.set_ylabel(ylabel)


def same_limits(axes: Sequence[Axes], *, both: bool = False) -> None:
    """Give panels one vertical scale, and one horizontal scale too if both is true."""
    for name in ("x", "y") if both else ("y",):
        ends = [getattr(axis, f"get_{name}lim")() for axis in axes]
        low, high = min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=1.0)
        for axis in axes:
            getattr(axis, f"set_{name}lim")(low, high)


def colour_bar(figure: Figure, image: AxesImage, axes: Sequence[Axes], *, name: str) -> Colorbar:
    """Add one horizontal colour bar above panels that share a scale; it is at most as wide as a phone."""
    length = min(1.0, 3.2 / figure.get_size_inches()[0])
    bar = figure.colorbar(image, ax=list(axes), location="top", shrink=length, aspect=24, pad=0.08)
    bar.locator = MaxNLocator(nbins=5)
    bar.update_ticks()
    bar.set_label(name)
    bar.outline.set_visible(False)  # type: ignore[operator]
    return bar


def wrapped(label: str) -> str:
    """Return a label in lines that are short enough for a small panel."""
    return textwrap.fill(label, 18)


def title_of(axis: Axes, label: str, ink: Ink, *, below: str = "") -> None:
    """Write a label above a panel, in its colour, and a line below the label."""
    axis.set_title(f"{wrapped(label)}\n{below}".rstrip(), color=darker(ink.colour))


def whole_ticks(axis: Axes) -> None:
    """Use only whole numbers as ticks, for blocks and epochs."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    low, high = axis.get_xlim()
    if high - low < 1:  # a single block or epoch
        middle = round((low + high) / 2)
        axis.set(xlim=(middle - 0.5, middle + 0.5), xticks=[middle])
