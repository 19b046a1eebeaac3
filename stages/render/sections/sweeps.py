"""Sweeps: accuracies and measures against the weight λ of CL, the gradient ratio and the encoder size.

Paper: Fig. 12, Fig. 1 middle.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import trainings_of
from stages.render.figures.gradient_ratios import Realised, realised
from stages.render.figures.line_charts import Inks
from stages.render.figures.paper import hybrid_sweep, size_sweep
from stages.render.figures.sweep_places import HYBRID, Places, along_ratio, along_size, along_weight
from stages.render.figures.sweeps import Line, Panel, sweep_alt, sweep_figure, sweep_rows
from stages.render.sections.sweep_findings import best_weights, ratios_in_words, size_gains
from stages.results.analysis_curves import block_curves, last_block
from stages.results.study_results import FINE_TUNED, Results
from stages.study.study import Study

WEIGHT = "λ (0: MIM, 1: CL)"
RATIO = "CL gradient / MIM gradient"
MATCHED = "Single points: λ computed for a gradient ratio. "
SIZE = "parameters (millions)"
# analysis, measure -> axis
MEASURES = {
    ("attention", "nmi"): "mutual information",
    ("fourier", "log_amplitude"): "relative log amplitude",
}


class Drawing(TypedDict):
    """The arguments of `figure_card.show`, without the folder."""

    fig: Figure
    name: str
    alt: str
    caption: str
    data: pd.DataFrame


class Sweep(NamedTuple):
    """The figure of one sweep, and its result in sentences; empty for measures."""

    drawing: Drawing
    findings: str


def sweeps(
    results: Results, accuracies: pd.DataFrame, *, inks: Inks, probe: str = "linear"
) -> dict[str, Sweep]:
    """Return all sweeps for which a study has enough arms, by the name of their figure.

    accuracies: as `accuracies.accuracies` returns them
    Raises StudyError if a table of an analysis cannot be read.
    """
    study, drawings = results.study, dict[str, Sweep]()

    def add(
        name: str, caption: str, rows: Sequence[Sequence[Panel]], *, findings: str = "", log: bool = False
    ) -> None:
        figure = sweep_figure(rows, inks=inks, log=log)
        drawing = Drawing(fig=figure, name=name, alt=sweep_alt(rows), caption=caption, data=sweep_rows(rows))
        drawings[name] = Sweep(drawing, findings)

    ratios = realised(results)
    if places := along_weight(study, ratios):
        rows = accuracy_panels(places, accuracies, probe=probe, xlabel=WEIGHT, paper=_paper_weights())
        caption = (
            "Accuracy against the weight λ of CL in the loss of the hybrid, with MIM at 0 and CL at 1; "
            f"{trainings_of(study)} (bars). {MATCHED if _matched(study) else ''}"
            "Grey: the paper (Fig. 12 left, read from pixels)."
        )
        add("accuracy-by-weight", caption, rows, findings=best_weights(rows))
        if panels := measure_panels(places, results):
            caption = (
                "Measures of the last block against the weight λ of CL: normalised mutual information of "
                f"attention, relative log amplitude near the highest frequency; {trainings_of(study)} (bars)."
            )
            add("measures-by-weight", caption, [panels])
    if places := along_ratio(study, ratios):
        rows = ratio_panels(places, accuracies, probe=probe, ratios=ratios)
        caption = (
            "Accuracy against the norm of the weighted CL gradient over that of the weighted MIM gradient, "
            f"geometric mean over epochs; {trainings_of(study)} (bars). Top axis: λ of the hybrids "
            "with a fixed λ. Horizontal lines: arms with one loss."
        )
        add("accuracy-by-ratio", caption, rows, findings=ratios_in_words(places, ratios), log=True)
    if places := along_size(study):
        rows = accuracy_panels(places, accuracies, probe=probe, xlabel=SIZE, paper=_paper_sizes())
        caption = (
            "Accuracy against the size of the encoder; all arms have one recipe; "
            f"{trainings_of(study)} (bars). Grey: ViT-Ti, S and B of the paper (Fig. 1 middle)."
        )
        add("accuracy-by-size", caption, rows, findings=size_gains(rows), log=True)
    return drawings


def accuracy_panels(
    places: Places,
    accuracies: pd.DataFrame,
    *,
    probe: str,
    xlabel: str,
    paper: Mapping[str, list[Line]],
) -> list[list[Panel]]:
    """Return a row of panels for the probe and a row for fine-tuning: one per label set, then the paper.

    paper: evaluation -> lines of the paper
    """
    rows = []
    for evaluation in (probe, FINE_TUNED):
        ylabel = f"{evaluation} probe (%)" if evaluation == probe else f"{evaluation} (%)"
        chosen = accuracies[accuracies["evaluation"] == evaluation]
        row = []
        for labels, of_set in chosen.groupby("labels", sort=False):
            values = 100 * of_set.set_index("label")[["mean", "low", "high"]]
            title = "This study" if labels == "class" else f"This study: {labels}"
            row.append(Panel(title, ylabel, xlabel, lines_of(places, values)))
        if lines := paper.get(evaluation):
            row.append(Panel("Paper", ylabel, xlabel, lines))
        rows.append(row)
    return [row for row in rows if row]


def ratio_panels(
    places: Places, accuracies: pd.DataFrame, *, probe: str, ratios: Mapping[str, Realised]
) -> list[list[Panel]]:
    """Return the panels of `accuracy_panels` against the gradient ratio, with λ on a second axis."""
    rows = accuracy_panels(places, accuracies, probe=probe, xlabel=RATIO, paper={})
    sweep = {label: ratios[label] for label, (line, *_) in places.items() if line == HYBRID}
    above = tuple((one.ratio, f"{one.weight:.2g}") for one in sweep.values())
    across = {ratios[label].ratio: ratios[label][2:] for label in places if label in ratios}

    def ranged(line: Line) -> Line:
        return line._replace(across={x: across[x] for x in line.points if x in across})

    return [
        [panel._replace(lines=[*map(ranged, panel.lines)], above=above, xlabel_above="λ") for panel in row]
        for row in rows
    ]


def measure_panels(places: Places, results: Results) -> list[Panel]:
    """Return a panel per measure of the last block, for the analyses of the study."""
    panels = []
    for (analysis, measure), ylabel in MEASURES.items():
        if analysis in results.study.analyses:
            curves = block_curves(
                results, analysis=analysis, measure=measure, highest_frequency=analysis == "fourier"
            )
            lines = lines_of(places, last_block(curves)[["mean", "low", "high"]])
            panels.append(Panel("This study, last block", ylabel, WEIGHT, lines, log_y=measure == "nmi"))
    return panels


def lines_of(places: Places, values: pd.DataFrame) -> list[Line]:
    """Return the lines of a panel, each from left to right.

    An arm at the place of another arm of its line gets a line of its own.

    values: index label; mean, low, high
    """
    lines: dict[str, Line] = {}
    alone: list[Line] = []
    for label, (name, ink, x) in sorted(places.items(), key=_from_left):
        if label in values.index:
            mean, low, high = (float(value) for value in values.loc[label])
            line = lines.setdefault(name, Line(name, ink, {}))
            if x in line.points:
                line = Line(label, label, {})
                alone.append(line)
            line.points[x] = (mean, low, high)
    return [*lines.values(), *alone]


def _from_left(place: tuple[str, tuple[str, str, float]]) -> tuple[bool, float]:
    """Return the key that sorts places from left to right, horizontal lines last."""
    x = place[1][2]
    return math.isnan(x), x


def _matched(study: Study) -> bool:
    return any(arm.gradient_ratio is not None for arm in study.arms.values())


def _paper_weights() -> dict[str, list[Line]]:
    points = hybrid_sweep().items()
    linear = {weight: (point.linear,) * 3 for weight, point in points}
    tuned = {weight: (point.finetuned,) * 3 for weight, point in points}
    return {"linear": [Line(HYBRID, None, linear)], FINE_TUNED: [Line(HYBRID, None, tuned)]}


def _paper_sizes() -> dict[str, list[Line]]:
    lines = [
        Line(method, None, {size: (tuned,) * 3 for size, tuned in points.items()})
        for method, points in size_sweep().items()
    ]
    return {FINE_TUNED: lines}
