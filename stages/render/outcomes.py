"""Figures of what the arms can do: probing against fine-tuning, and how their pre-training went."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.render.curves import Inks, panels, title_of, whole_ticks
from stages.render.labels import label_ends, label_points, settle
from stages.render.paper import PaperPoint
from stages.render.results import FINE_TUNED, loss_parts
from stages.render.style import PAPER, darker, styled


def trade_off_figure(
    accuracies: pd.DataFrame, *, inks: Inks, probe: str, paper: Mapping[str, Sequence[PaperPoint]]
) -> Figure:
    """Fine-tuned against probed accuracy, a panel per label set, then one per set of the paper's points.

    accuracies: as `results.accuracies` gives them
    paper:      panel title -> points; consecutive points of a sweep are joined where the title says so
    """
    sets = both_ways(accuracies, probe=probe)
    with styled():
        count = len(sets) + len(paper)
        figure, axes = panels(count, height=3.2, columns=3 if count in (3, 5, 6) else 2)
        for axis, (labels, points) in zip(axes, sets.items(), strict=False):
            _our_points(axis, points, inks=inks)
            axis.set_title("This study" if labels == "class" else f"This study: {labels}")
        for axis, (title, theirs) in zip(axes[len(sets) :], paper.items(), strict=True):
            axis.plot([p.linear for p in theirs], [p.finetuned for p in theirs], color=PAPER, marker="o",
                      linestyle="-" if "λ" in title else "none", linewidth=0.8)  # fmt: skip
            axis.set_title(title, color=darker(PAPER, 0.3))
        for place, axis in enumerate(axes):
            axis.margins(x=0.28, y=0.16)
            axis.set_xlabel(f"{probe if place < len(sets) else 'linear'} probe (%)")
            axis.set_ylabel("fine-tuned (%)")
        settle(figure)
        for axis, points in zip(axes, sets.values(), strict=False):
            names = [
                (str(label), 100 * row["probed"], 100 * row["tuned"], inks[str(label)].colour)
                for label, row in points.iterrows()
            ]
            label_points(axis, names, avoid=_along_bars(points))
        for axis, (title, theirs) in zip(axes[len(sets) :], paper.items(), strict=True):
            names = [(point.method, point.linear, point.finetuned, PAPER) for point in theirs]
            label_points(axis, names, avoid=_along_line(theirs) if "λ" in title else ())
    return figure


def both_ways(accuracies: pd.DataFrame, *, probe: str) -> dict[str, pd.DataFrame]:
    """For each label set, the labels that were both probed and fine-tuned on it.

    returns: label set -> index label; probed and tuned (fractions), each with _low and _high
    """
    found = {}
    for labels, rows in accuracies.groupby("labels", sort=False):
        sides = []
        for evaluation, name in ((probe, "probed"), (FINE_TUNED, "tuned")):
            side = rows[rows["evaluation"] == evaluation].set_index("label")[["accuracy", "low", "high"]]
            sides.append(side.set_axis([name, f"{name}_low", f"{name}_high"], axis=1))
        joined = sides[0].join(sides[1], how="inner")
        if len(joined):
            found[str(labels)] = joined
    return found


def loss_figure(histories: Mapping[str, list[pd.DataFrame]], *, inks: Inks) -> Figure:
    """Pre-training loss per epoch, a panel per label with a scale of its own; the parts of a sum are dotted.

    Losses of different objectives are different quantities, so no panel shares its scale with another.
    """
    with styled():
        figure, axes = panels(len(histories), height=2.6, columns=3)
        ends = []
        for axis, (label, runs) in zip(axes, histories.items(), strict=True):
            ink = inks[label]
            for run in runs:
                axis.plot(
                    run["epoch"], run["loss"], color=ink.colour, marker=ink.marker if len(run) < 30 else ""
                )
            first = runs[0]
            parts = [part for part in loss_parts(first) if not first[part].equals(first["loss"])]
            for part in parts:
                axis.plot(first["epoch"], first[part], color=ink.colour, linestyle=":", linewidth=1.3)
            shown = ["loss", *parts] if parts else []
            ends.append([(part if part != "loss" else "sum", float(first["epoch"].iloc[-1]),
                          float(first[part].iloc[-1]), ink.colour) for part in shown])  # fmt: skip
            title_of(axis, label, ink)
            axis.set_xlabel("epoch")
            whole_ticks(axis)
        for axis in axes[::3]:
            axis.set_ylabel("loss")
        settle(figure)
        for axis, names in zip(axes, ends, strict=True):
            label_ends(axis, names)
    return figure


def _our_points(axis: Axes, points: pd.DataFrame, *, inks: Inks) -> None:
    for label, row in points.iterrows():
        ink = inks[str(label)]
        spread = {
            name: [[100 * (row[name] - row[f"{name}_low"])], [100 * (row[f"{name}_high"] - row[name])]]
            for name in ("probed", "tuned")
        }
        axis.errorbar(100 * row["probed"], 100 * row["tuned"], xerr=spread["probed"], yerr=spread["tuned"],
                      color=ink.colour, marker=ink.marker, markersize=6, elinewidth=1, capsize=2)  # fmt: skip


def _along_bars(points: pd.DataFrame) -> list[tuple[float, float]]:
    """Places along all error bars, in per cent."""
    places = []
    for _, row in (100 * points).iterrows():
        places += [(x, row["tuned"]) for x in np.linspace(row["probed_low"], row["probed_high"], 15)]
        places += [(row["probed"], y) for y in np.linspace(row["tuned_low"], row["tuned_high"], 15)]
    return places


def _along_line(points: Sequence[PaperPoint]) -> list[tuple[float, float]]:
    """Places along the line that joins the points."""
    places: list[tuple[float, float]] = []
    for one, other in pairwise(points):
        across = np.linspace(one.linear, other.linear, 25)
        places += zip(across, np.linspace(one.finetuned, other.finetuned, 25), strict=True)
    return places
