"""What a sweep shows: accuracies and measures against the weight λ of CL, and against the encoder's size.

Each is drawn only of a study that has at least three points of it. Paper: Fig. 12, Fig. 1 middle.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.encoders.settings import Vit
from stages.render.captions import trainings_of
from stages.render.curves import Inks
from stages.render.labels import label_ends, settle
from stages.render.paper import hybrid_sweep, size_sweep
from stages.render.prose import fixed, listed, number
from stages.render.style import PAPER, TEXT, darker, new_figure, styled
from stages.results.curves import block_curves, last_block
from stages.results.study_results import FINE_TUNED, Results
from stages.study.params import label_of
from stages.study.settings import Arm
from stages.study.study import Study

FEWEST = 3
PARENTS = {"masked": 0.0, "contrastive": 1.0}  # λ of what the hybrid lies between
METHODS = {"contrastive": "CL", "masked": "MIM", "random": "untrained"}
Places = dict[str, tuple[str, str, float]]  # label -> name of its line, label whose ink it has, x
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


class Line(NamedTuple):
    """Points that are joined, in the ink of one of our labels or in grey for the paper's."""

    name: str
    ink: str | None
    points: dict[float, tuple[float, float, float]]  # x -> mean, low, high; x nan: a level from side to side


class Panel(NamedTuple):
    """One panel of a figure."""

    title: str
    ylabel: str
    xlabel: str
    lines: list[Line]


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
            f"{trainings_of(study)} (bars). {_best(rows)} Grey: the paper (Fig. 12 left, read off pixels), "
            "ViT-B on "
            "ImageNet."
        )
        add("accuracy-by-weight", caption, rows)
        if panels := measure_panels(places, results):
            caption = (
                "Measures of the last block against the weight λ of CL: normalised mutual information of "
                f"attention, relative log amplitude at the highest frequency; {trainings_of(study)} (bars). "
                f"{_span(panels)} The paper's numbers (Fig. 12 middle and right) are not published."
            )
            add("measures-by-weight", caption, [panels])
    if places := along_size(study):
        rows = accuracy_panels(places, accuracies, probe=probe, xlabel=SIZE, paper=_paper_sizes())
        caption = (
            "Accuracy against the size of the encoder, all trained by one recipe; "
            f"{trainings_of(study)} (bars). "
            f"{_gaps(rows)} Grey: ViT-Ti, S and B on ImageNet, those of Fig. 1 middle that the paper's "
            "authors trained themselves."
        )
        add("accuracy-by-size", caption, rows, log=True)
    return drawings


def along_weight(study: Study) -> Places:
    """The hybrids of one recipe between their parents, by λ; layered ones and the control beside them.

    returns: empty with fewer than three weights
    """
    arms = study.arms
    hybrids = [name for name, arm in arms.items() if arm.objective == "hybrid" and not arm.stop_epoch]
    if not hybrids:
        return {}
    first = arms[hybrids[0]]
    places: Places = {}
    weights = set()
    for name, arm in arms.items():
        label = label_of(study, name)
        if not same_recipe(arm, first, apart={"objective", "cl_weight", "mim_block"}):
            continue
        if arm.objective == "hybrid" or arm.objective in PARENTS:
            weight = float(PARENTS.get(arm.objective, arm.cl_weight or 0.0))
            places.setdefault(label, ("hybrid", label_of(study, hybrids[0]), weight))
            weights |= {weight} if arm.objective == "hybrid" else set()
        elif arm.objective == "layered":
            places.setdefault(label, (label, label, float(arm.cl_weight or 0.0)))
        elif arm.objective == "random":
            places.setdefault(label, ("untrained", label, math.nan))
    return places if len(weights) >= FEWEST else {}


def along_size(study: Study) -> Places:
    """The arms of each objective that differ in nothing but their size, by their parameters in millions.

    returns: empty unless a trained objective has three sizes; objectives with fewer are left out
    """
    places: Places = {}
    trained = False
    firsts: dict[str, tuple[str, Arm]] = {}
    for name, arm in study.arms.items():
        if not arm.stop_epoch:
            firsts.setdefault(arm.objective, (label_of(study, name), arm))
    for objective, (ink, first) in firsts.items():
        if objective == "imported":
            continue
        own: Places = {}
        for name, arm in study.arms.items():
            if same_recipe(arm, first, apart={"width", "heads", "depth"}):
                millions = parameters(vit_of(study, arm), image_size=study.data.image_size) / 1e6
                own.setdefault(label_of(study, name), (METHODS.get(objective, objective), ink, millions))
        if len({x for *_, x in own.values()}) >= FEWEST:
            places |= own
            trained = trained or objective != "random"
    return places if trained else {}


def same_recipe(arm: Arm, other: Arm, *, apart: set[str]) -> bool:
    """Whether two arms differ in nothing but their seeds and the settings named."""
    apart = apart | {"seeds"}
    return arm.model_dump(exclude=apart) == other.model_dump(exclude=apart)


def vit_of(study: Study, arm: Arm) -> Vit:
    """The encoder of an arm: that of the study with what the arm changes of it."""
    own = {key: value for key, value in arm if key in Vit.model_fields and value is not None}
    return study.vit.model_copy(update=own)


def parameters(vit: Vit, *, image_size: int) -> int:
    """How many numbers an encoder learns: projection, class token, learnt positions, blocks, final norm."""
    width, patch = vit.width, vit.patch_size
    hidden = int(vit.mlp_ratio * width)
    patches = (image_size // patch) ** 2
    positions = (patches + 1) * width if vit.position == "learned" else 0
    attention = 4 * width * (width + 1)
    mlp = 2 * width * hidden + hidden + width
    block = attention + mlp + 4 * width  # and two norms
    return (3 * patch**2 + 1) * width + width + positions + vit.depth * block + 2 * width


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


def sweep_figure(rows: Sequence[Sequence[Panel]], *, inks: Inks, log: bool = False) -> Figure:
    """Rows of panels, each with a scale of its own. log: sizes across, on a logarithmic axis"""
    columns = max(len(row) for row in rows)
    with styled():
        figure = new_figure(height=0.3 + 2.7 * len(rows))
        grid = figure.subplots(len(rows), columns, squeeze=False)
        drawn: list[tuple[Axes, Panel]] = []
        for axes, row in zip(grid, rows, strict=True):
            drawn += zip(axes, row, strict=False)
            for spare in axes[len(row) :]:
                spare.remove()
        for axis, panel in drawn:
            _draw(axis, panel, inks=inks, log=log)
        settle(figure)
        for axis, panel in drawn:
            label_ends(axis, [_end(axis, line, inks=inks) for line in panel.lines])
    return figure


def sweep_rows(rows: Sequence[Sequence[Panel]]) -> pd.DataFrame:
    """Every point: panel, measure, line, x (none of a level from side to side), mean, low, high."""
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
    """Alternative text: where each panel of ours is highest, then every point of every panel."""
    said = [*_highest(rows), "Line charts, one point per arm."]
    for panel in (panel for row in rows for panel in row):
        for line in panel.lines:
            points = [
                number(mean) if math.isnan(x) else f"{number(mean)} at {number(x, digits=2)}"
                for x, (mean, *_) in line.points.items()
            ]
            said.append(f"{panel.title}, {panel.ylabel}, {line.name}: {listed(points)}.")
    return " ".join(said)


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
    places = sorted({x for line in panel.lines for x in line.points if not math.isnan(x)})
    if log:
        axis.set_xscale("log")
        axis.minorticks_off()
    axis.margins(x=0.08, y=0.12)
    axis.set_xticks(places, [number(x, digits=2) if log else f"{x:g}" for x in places])
    axis.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    ours = any(line.ink for line in panel.lines)
    axis.set_title(panel.title, color=TEXT if ours else darker(PAPER, 0.3))


def _end(axis: Axes, line: Line, *, inks: Inks) -> tuple[str, float, float, str]:
    x, (mean, *_) = list(line.points.items())[-1]
    colour = PAPER if line.ink is None else inks[line.ink].colour
    return line.name, axis.get_xlim()[1] if math.isnan(x) else x, mean, colour


def _highest(rows: Sequence[Sequence[Panel]]) -> list[str]:
    """The line and the place with the highest mean of each panel of ours."""
    said = []
    for panel in (panel for row in rows for panel in row):
        points = [
            (mean, line.name, x) for line in panel.lines if line.ink for x, (mean, *_) in line.points.items()
        ]
        if points:
            mean, name, x = max(points)
            where = "" if math.isnan(x) else f" at {number(x, digits=2)}"
            said.append(f"{_of(panel).capitalize()} is highest for {name}{where}: {number(mean)}.")
    return said


def _best(rows: Sequence[Sequence[Panel]]) -> str:
    """The weight with the highest mean in each panel of ours."""
    said = []
    for panel in (panel for row in rows for panel in row):
        for line in panel.lines:
            if line.name == "hybrid" and line.ink:
                best, (mean, *_) = max(line.points.items(), key=lambda point: point[1][0])
                said.append(f"{_of(panel)}: λ = {best:g} ({fixed(mean, decimals=1)} %)")
    return f"Best: {'; '.join(said)}."


def _span(panels: Sequence[Panel]) -> str:
    """Each measure at the two ends of the sweep."""
    said = []
    for panel in panels:
        points = next(line.points for line in panel.lines if line.name == "hybrid")
        first, last = min(points), max(points)
        said.append(
            f"{panel.ylabel.capitalize()}: {number(points[first][0])} at λ = {first:g}, "
            f"{number(points[last][0])} at λ = {last:g}."
        )
    return " ".join(said)


def _gaps(rows: Sequence[Sequence[Panel]]) -> str:
    """CL less MIM at every size that both have, in each panel of ours."""
    said = []
    for panel in (panel for row in rows for panel in row):
        lines = {line.name: line.points for line in panel.lines if line.ink}
        both = sorted(set(lines.get("CL", {})) & set(lines.get("MIM", {})))
        if both:
            differences = (fixed(lines["CL"][x][0] - lines["MIM"][x][0], decimals=1) for x in both)
            said.append(f"{_of(panel)}: {listed(differences)} points")
    return f"CL less MIM, from small to large: {'; '.join(said)}." if said else ""


def _of(panel: Panel) -> str:
    """What a panel shows, in a sentence."""
    where = panel.title.removeprefix("This study").removeprefix(": ")
    return panel.ylabel.removesuffix(" (%)") + (f", {where}" if where else "")


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
