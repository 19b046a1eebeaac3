"""Probing against fine-tuning: one point per arm, beside the points of the paper."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.render.figures.line_charts import Inks, bar_lengths, panels, same_limits
from stages.render.figures.name_placing import label_points, settle
from stages.render.figures.paper import PaperPoint
from stages.render.figures.style import PAPER, darker, styled
from stages.results.seeds import PREFIX, single_trainings
from stages.results.study_results import AUGMENTED, FINE_TUNED

CIRCLE, TRIANGLE = "o", "^"
THIN = 0.8  # width of thin lines, points
SMALL = 3.0  # size of the marker of one training, points
Place = tuple[float, float]


def trade_off_figure(
    accuracies: pd.DataFrame, *, inks: Inks, probe: str, paper: Mapping[str, Sequence[PaperPoint]]
) -> Figure:
    """Draw fine-tuning accuracy against probe accuracy, one panel per label set, then panels of the paper.

    Circles: probe of original images; triangles: probe of augmented images. A thin line joins the two points
    of an arm.

    accuracies: as `accuracies.accuracies` returns them
    paper:      panel title -> points; the points of a sweep, which has λ in its title, are joined
    """
    sets, augmented = (both_ways(accuracies, probe=name) for name in (probe, AUGMENTED))
    with styled():
        count = len(sets) + len(paper)
        figure, axes = panels(count, height=3.2, columns=3 if count in (3, 5, 6) else 2)
        for axis, (labels, points) in zip(axes, sets.items(), strict=False):
            _study_points(axis, points, inks=inks, marker=CIRCLE)
            if labels in augmented:
                _study_points(axis, augmented[labels], inks=inks, marker=TRIANGLE)
                for label, there, here in _pairs(points, augmented[labels]):
                    axis.plot(*zip(there, here, strict=True), color=inks[label].colour, linewidth=THIN)
            axis.set_title("This study" if labels == "class" else f"This study: {labels}")
        for axis, (title, points_of_paper) in zip(axes[len(sets) :], paper.items(), strict=True):
            _paper_points(axis, points_of_paper, sweep="λ" in title)
            axis.set_title(title, color=darker(PAPER, 0.3))
        for place, axis in enumerate(axes):
            axis.margins(x=0.28, y=0.16)
            axis.set_xlabel(f"{probe if place < len(sets) else 'linear'} probe (%)")
            axis.set_ylabel("fine-tuned (%)")
        same_limits(axes[: len(sets)], both=True)
        settle(figure)
        for axis, (labels, points) in zip(axes, sets.items(), strict=False):
            names = [
                (str(label), 100 * row["probed"], 100 * row["tuned"], inks[str(label)].colour)
                for label, row in points.iterrows()
            ]
            avoid = _along_bars(points)
            if labels in augmented:
                avoid += _along_bars(augmented[labels])
                for _, there, here in _pairs(points, augmented[labels]):
                    avoid += _between(there, here)
            label_points(axis, names, avoid=avoid)
        for axis, (title, points_of_paper) in zip(axes[len(sets) :], paper.items(), strict=True):
            names = [(point.method, point.linear, point.finetuned, PAPER) for point in points_of_paper]
            label_points(axis, names, avoid=_along_line(points_of_paper, sweep="λ" in title))
    return figure


def both_ways(accuracies: pd.DataFrame, *, probe: str) -> dict[str, pd.DataFrame]:
    """Return for each label set the labels that have a probe and fine-tuning.

    Returns: label set -> index label; probed and tuned (fractions), each with _low, _high and _seed_0 and so
             on
    """
    sets = {}
    for labels, rows in accuracies.groupby("labels", sort=False):
        sides = []
        for evaluation, name in ((probe, "probed"), (FINE_TUNED, "tuned")):
            side = rows[rows["evaluation"] == evaluation].set_index("label")
            side = side[["mean", "low", "high", *single_trainings(side)]].add_prefix(f"{name}_")
            sides.append(side.rename(columns={f"{name}_mean": name}))
        joined = sides[0].join(sides[1], how="inner")
        if len(joined):
            sets[str(labels)] = joined
    return sets


def _study_points(axis: Axes, points: pd.DataFrame, *, inks: Inks, marker: str) -> None:
    for label, row in points.iterrows():
        ink = inks[str(label)]
        spread = {
            name: 100 * bar_lengths([row[name]], low=[row[f"{name}_low"]], high=[row[f"{name}_high"]])
            for name in ("probed", "tuned")
        }
        single = [name.removeprefix("probed") for name in points if name.startswith(f"probed_{PREFIX}")]
        pairs = [(100 * row[f"probed{seed}"], 100 * row[f"tuned{seed}"]) for seed in single]
        pairs = [pair for pair in pairs if np.isfinite(pair).all()]
        if len(pairs) > 1:
            axis.plot(*zip(*pairs, strict=True), linestyle="none", marker=marker, markersize=SMALL,
                      color=ink.colour, alpha=0.6, markeredgewidth=0)  # fmt: skip
        axis.errorbar(100 * row["probed"], 100 * row["tuned"], xerr=spread["probed"], yerr=spread["tuned"],
                      color=ink.colour, marker=marker, markersize=6, elinewidth=1, capsize=2)  # fmt: skip


def _paper_points(axis: Axes, points: Sequence[PaperPoint], *, sweep: bool) -> None:
    """Draw points of the paper; a sweep has one recipe, other points have the recipes of their authors."""
    axis.plot([point.linear for point in points], [point.finetuned for point in points], color=PAPER,
              marker=CIRCLE if sweep else TRIANGLE, markersize=4.5 if sweep else 6,
              linestyle="-" if sweep else "none", linewidth=THIN)  # fmt: skip
    for point in points:
        if point.last_block is not None:
            axis.plot([point.linear, point.last_block], 2 * [point.finetuned], color=PAPER, linewidth=THIN)
            axis.plot(point.last_block, point.finetuned, color=PAPER, marker=CIRCLE, markersize=6)


def _pairs(one: pd.DataFrame, other: pd.DataFrame) -> list[tuple[str, Place, Place]]:
    """Return the places of each label in two tables, in per cent."""
    return [
        (
            str(label),
            (100 * row["probed"], 100 * row["tuned"]),
            (100 * other["probed"][label], 100 * other["tuned"][label]),
        )
        for label, row in one.iterrows()
        if label in other.index
    ]


def _along_bars(points: pd.DataFrame) -> list[Place]:
    """Return places along all error bars, in per cent."""
    places = []
    for _, row in (100 * points).iterrows():
        places += [(x, row["tuned"]) for x in np.linspace(row["probed_low"], row["probed_high"], 15)]
        places += [(row["probed"], y) for y in np.linspace(row["tuned_low"], row["tuned_high"], 15)]
    return places


def _along_line(points: Sequence[PaperPoint], *, sweep: bool) -> list[Place]:
    """Return places along the lines between the points of a sweep, or between the two probes of a point."""
    if sweep:
        ends = list(pairwise((point.linear, point.finetuned) for point in points))
    else:
        ends = [
            ((point.linear, point.finetuned), (point.last_block, point.finetuned))
            for point in points
            if point.last_block is not None
        ]
    return [place for one, other in ends for place in _between(one, other)]


def _between(one: Place, other: Place) -> list[Place]:
    """Return places along a line."""
    return list(zip(*(np.linspace(*ends, 25) for ends in zip(one, other, strict=True)), strict=True))
