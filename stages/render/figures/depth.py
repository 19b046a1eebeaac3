"""A measure against depth: ours on the left, the paper's own curve in grey on the right."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import bands, found_last, in_order
from stages.render.figures.line_charts import DEPTH, Inks, draw_curves, label_line_ends
from stages.render.figures.name_placing import label_ends, settle
from stages.render.figures.paper import SETTING, PaperCurve
from stages.render.figures.style import PAPER, darker, new_figure, styled
from stages.render.words import number
from stages.results.analysis_curves import last_block


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


def depth_caption(curves: pd.DataFrame, *, measure: str, unit: str = "", paper: str = "") -> str:
    """Caption of a figure against depth: what is drawn, the last block's values in order, the paper's panel.

    curves: as `analysis_curves.block_curves` gives them
    """
    last = in_order(last_block(curves), unit=unit)
    said = f"{measure} {bands(curves)} Last block, from highest to lowest: {last}."
    return f"{said} Right: {paper}" if paper else said


def depth_alt(curves: pd.DataFrame, *, measure: str, unit: str = "", paper: Sequence[PaperCurve] = ()) -> str:
    """Alternative text of a figure against depth: who ends highest and lowest, then each line's course."""
    said = [found_last(curves, measure=measure, unit=unit)]
    said.append(f"Line chart of {measure} against depth, one line per arm.")
    for label, curve in curves.groupby("label", sort=False):
        said.append(_course(str(label), curve["block"].tolist(), curve["mean"].tolist(), unit))
    for curve in paper:
        places = [12 * depth for depth in curve.depth]
        said.append(_course(f"The paper's {curve.method}", places, list(curve.values), unit))
    return " ".join(said)


def _course(name: str, blocks: Sequence[float], values: Sequence[float], unit: str) -> str:
    """Where a line starts and ends, and its extremes if they lie between."""
    suffix = f" {unit}" if unit else ""
    places = {"": 0, "lowest ": values.index(min(values)), "highest ": values.index(max(values))}
    said = []
    for word, place in (*places.items(), ("", len(values) - 1)):
        if not word or place not in (0, len(values) - 1):
            said.append(f"{word}{number(values[place])}{suffix} at block {blocks[place]:.0f}")
    return f"{name}: {', '.join(dict.fromkeys(said))}."
