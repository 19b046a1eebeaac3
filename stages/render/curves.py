"""Figures against depth: ours on the left, the paper's own curve in grey on the right."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.render.labels import label_ends, settle
from stages.render.paper import SETTING, PaperCurve
from stages.render.style import PAPER, Ink, darker, new_figure, styled
from stages.results.seeds import PREFIX, single_trainings

Inks = Mapping[str, Ink]
DEPTH = "depth (block / number of blocks)"


def depth_figure(
    curves: pd.DataFrame,
    *,
    inks: Inks,
    ylabel: str,
    paper: Sequence[PaperCurve] = (),
    paper_level: tuple[float, str] | None = None,
    share_y: bool = False,
) -> Figure:
    """A measure against relative depth, one line per label with its interval, and the paper's beside it.

    curves:      label, depth, mean, low, high
    paper_level: a value and its name, drawn as a level line in the paper's panel
    share_y:     same scale in both panels, for measures that mean the same on any grid of patches
    """
    with styled():
        figure = new_figure(height=max(3.6, 1.0 + 0.2 * curves["label"].nunique()))
        if not paper:
            axis = figure.add_subplot()
            draw_curves(axis, curves, inks=inks, x="depth")
            axis.set(xlabel=DEPTH, ylabel=ylabel)
            settle(figure)
            label_line_ends(axis, curves, inks=inks, x="depth")
            return figure
        ours, theirs = figure.subplots(1, 2, width_ratios=[1.25, 1], sharey=share_y)
        draw_curves(ours, curves, inks=inks, x="depth")
        ours.set(title="This study", xlabel=DEPTH, ylabel=ylabel)
        for curve, style in zip(paper, ("-", (0, (4, 1.5)), (0, (1, 1))), strict=False):
            theirs.plot(curve.depth, curve.values, color=PAPER, linestyle=style, marker="o", markersize=3.5)
        theirs.set_title(f"Paper ({SETTING})", color=darker(PAPER, 0.3))
        theirs.set_xlabel(DEPTH)
        if paper_level:
            level, name = paper_level
            theirs.axhline(level, color=PAPER, linewidth=1, linestyle=(0, (1, 2)))
            theirs.annotate(name, (0.02, level), xycoords=("axes fraction", "data"), xytext=(0, 3),
                            textcoords="offset points", fontsize=8.5, color=darker(PAPER, 0.3))  # fmt: skip
        for axis in (ours, theirs):
            axis.set_xlim(0, 1.02)
            axis.tick_params(labelleft=True)
        settle(figure)
        label_line_ends(ours, curves, inks=inks, x="depth")
        label_ends(theirs, [(curve.method, curve.depth[-1], curve.values[-1], PAPER) for curve in paper])
    return figure


def head_figure(heads: pd.DataFrame, curves: pd.DataFrame, *, inks: Inks, ylabel: str) -> Figure:
    """One small panel per label: a dot per head and block, and the line of their mean.

    heads:  label, seed, block, head, mean
    curves: label, block, mean
    """
    labels = list(dict.fromkeys(heads["label"]))
    with styled():
        figure, axes = panels(len(labels), height=2.5)
        for axis, label in zip(axes, labels, strict=True):
            ink = inks[label]
            dots = heads[heads["label"] == label]
            line = curves[curves["label"] == label]
            # Heads stand side by side within their block, so that equal ones do not hide each other.
            aside = 0.4 * (dots["head"] - 1) / max(dots["head"].max() - 1, 1) - 0.2
            axis.plot(
                line["block"], line["mean"], color=ink.colour, linestyle=ink.line, linewidth=1.3, alpha=0.8
            )
            axis.plot(dots["block"] + aside, dots["mean"], linestyle="none", marker="o", markersize=4,
                      color=ink.colour, alpha=0.75, markeredgewidth=0)  # fmt: skip
            title_of(axis, label, ink)
            axis.set(xlabel="block", xlim=(line["block"].min() - 0.5, line["block"].max() + 0.5))
            whole_ticks(axis)
            axis.grid(visible=False, axis="x")
        share(axes, ylabel=ylabel)
    return figure


def spectrum_figure(spectra: pd.DataFrame, *, inks: Inks, ylabel: str) -> Figure:
    """Amplitude against frequency in one panel per place of the encoder.

    spectra: label, place, frequency (units of pi), mean, low, high
    """
    places = list(dict.fromkeys(spectra["place"]))
    with styled():
        figure = new_figure(height=max(3.4, 1.0 + 0.2 * spectra["label"].nunique()))
        axes = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
        for axis, place in zip(axes, places, strict=True):
            chosen = spectra[spectra["place"] == place]
            draw_curves(axis, chosen, inks=inks, x="frequency")
            axis.set(title=place.capitalize(), xlabel="frequency (π)")
            bins = sorted(chosen["frequency"].unique())
            if len(bins) <= 8:
                axis.set_xticks(bins, [f"{frequency:.3g}" for frequency in bins])
        axes[0].set_ylabel(ylabel)
        settle(figure)
        for axis, place in zip(axes, places, strict=True):
            label_line_ends(axis, spectra[spectra["place"] == place], inks=inks, x="frequency")
    return figure


def draw_curves(axis: Axes, curves: pd.DataFrame, *, inks: Inks, x: str) -> None:
    """Draw one line per label with its interval as a band, and a thin line per training."""
    for label, curve in curves.groupby("label", sort=False):
        ink = inks[str(label)]
        axis.fill_between(curve[x], curve["low"], curve["high"], color=ink.colour, alpha=0.18, linewidth=0)
        draw_trainings(axis, curve, ink=ink, x=x)
        axis.plot(curve[x], curve["mean"], color=ink.colour, linestyle=ink.line, marker=ink.marker)


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
