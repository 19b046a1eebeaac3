"""What a sweep shows: accuracies and measures against the weight λ of CL, and against size.

Paper: Fig. 12, Fig. 1 middle.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import trainings_of
from stages.render.figures.line_charts import Inks
from stages.render.figures.paper import hybrid_sweep, size_sweep
from stages.render.figures.sweep_places import Places, along_size, along_weight
from stages.render.figures.sweeps import Line, Panel, sweep_alt, sweep_figure, sweep_rows
from stages.results.analysis_curves import block_curves, last_block
from stages.results.study_results import FINE_TUNED, Results

WEIGHT = "λ (0: MIM, 1: CL)"
SIZE = "parameters (millions)"
# analysis, measure -> axis
MEASURES = {
    ("attention", "nmi"): "mutual information",
    ("fourier", "log_amplitude"): "relative log amplitude",
}


class Drawing(TypedDict):
    """What `figures.show` takes, but for the folder."""

    fig: Figure
    name: str
    alt: str
    caption: str
    data: pd.DataFrame


def sweeps(results: Results, accuracies: pd.DataFrame, *, inks: Inks, probe: str = "linear") -> list[Drawing]:
    """The figures that the arms of a study are enough for.

    accuracies: as `accuracies.accuracies` gives them
    Raises StudyError if a table of an analysis cannot be read.
    """
    study, drawings = results.study, list[Drawing]()

    def add(name: str, caption: str, rows: Sequence[Sequence[Panel]], *, log: bool = False) -> None:
        figure = sweep_figure(rows, inks=inks, log=log)
        drawings.append({"fig": figure, "name": name, "alt": sweep_alt(rows), "caption": caption,
                         "data": sweep_rows(rows)})  # fmt: skip

    if places := along_weight(study):
        rows = accuracy_panels(places, accuracies, probe=probe, xlabel=WEIGHT, paper=_paper_weights())
        caption = (
            "Accuracy against the weight λ of CL in the loss of the hybrid, with MIM at 0 and CL at 1; "
            f"{trainings_of(study)} (bars). Grey: the paper (Fig. 12 left, read off pixels)."
        )
        add("accuracy-by-weight", caption, rows)
        if panels := measure_panels(places, results):
            caption = (
                "Measures of the last block against the weight λ of CL: normalised mutual information of "
                f"attention, relative log amplitude at the highest frequency; {trainings_of(study)} (bars)."
            )
            add("measures-by-weight", caption, [panels])
    if places := along_size(study):
        rows = accuracy_panels(places, accuracies, probe=probe, xlabel=SIZE, paper=_paper_sizes())
        caption = (
            "Accuracy against the size of the encoder, all trained by one recipe; "
            f"{trainings_of(study)} (bars). Grey: the paper's own ViT-Ti, S and B (Fig. 1 middle)."
        )
        add("accuracy-by-size", caption, rows, log=True)
    return drawings


def accuracy_panels(
    places: Places,
    accuracies: pd.DataFrame,
    *,
    probe: str,
    xlabel: str,
    paper: Mapping[str, list[Line]],
) -> list[list[Panel]]:
    """A row of panels for the probe and one for fine-tuning: one per label set, then the paper's.

    paper: evaluation -> its lines
    """
    rows = []
    for evaluation in (probe, FINE_TUNED):
        ylabel = f"{evaluation} probe (%)" if evaluation == probe else f"{evaluation} (%)"
        chosen = accuracies[accuracies["evaluation"] == evaluation]
        row = []
        for labels, found in chosen.groupby("labels", sort=False):
            values = 100 * found.set_index("label")[["mean", "low", "high"]]
            title = "This study" if labels == "class" else f"This study: {labels}"
            row.append(Panel(title, ylabel, xlabel, lines_of(places, values)))
        if lines := paper.get(evaluation):
            row.append(Panel("Paper", ylabel, xlabel, lines))
        rows.append(row)
    return [row for row in rows if row]


def measure_panels(places: Places, results: Results) -> list[Panel]:
    """A panel per measure of the last block, of the analyses that the study has."""
    panels = []
    for (analysis, measure), ylabel in MEASURES.items():
        if analysis in results.study.analyses:
            curves = block_curves(
                results, analysis=analysis, measure=measure, highest_frequency=analysis == "fourier"
            )
            lines = lines_of(places, last_block(curves)[["mean", "low", "high"]])
            panels.append(Panel("This study, last block", ylabel, WEIGHT, lines))
    return panels


def lines_of(places: Places, values: pd.DataFrame) -> list[Line]:
    """The values by line, each line from left to right. values: index label; mean, low, high"""
    lines: dict[str, Line] = {}
    for label, (name, ink, x) in sorted(places.items(), key=lambda item: item[1][2]):
        if label in values.index:
            mean, low, high = (float(value) for value in values.loc[label])
            lines.setdefault(name, Line(name, ink, {})).points[x] = (mean, low, high)
    return list(lines.values())


def _paper_weights() -> dict[str, list[Line]]:
    points = hybrid_sweep().items()
    linear = {weight: (point.linear,) * 3 for weight, point in points}
    tuned = {weight: (point.finetuned,) * 3 for weight, point in points}
    return {"linear": [Line("hybrid", None, linear)], FINE_TUNED: [Line("hybrid", None, tuned)]}


def _paper_sizes() -> dict[str, list[Line]]:
    lines = [
        Line(method, None, {size: (tuned,) * 3 for size, tuned in points.items()})
        for method, points in size_sweep().items()
    ]
    return {FINE_TUNED: lines}
