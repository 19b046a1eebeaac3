"""Specification curves: one claim under every combination of analysis choices."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from stages.render.figures.captions import NUMBERS
from stages.render.figures.style import TEXT, new_figure, styled
from stages.render.words import listed, minus, number

# Verdict -> colour with 3:1 contrast on white, marker, and fill of the marker.
SIGNS = {
    "supported": ("#00805F", "o", "#00805F"),
    "negligible": ("#3B6EA5", "D", "#3B6EA5"),
    "undecided": ("#8C6D00", "o", "white"),
    "contradicted": ("#B3261E", "s", "#B3261E"),
    "higher": ("#00805F", "^", "white"),
    "no difference": ("#3B6EA5", "D", "white"),
    "lower": ("#B3261E", "v", "white"),
}
SIZE = 8.5  # font size of names, points
WIDTH = 4.8  # inches
# Heights in inches: a line of the choice matrix, then the other parts of the figure from top to bottom.
ROW, ABOVE, EFFECTS, BETWEEN, BELOW = 0.19, 0.55, 2.1, 0.36, 0.08
GAP, LABEL, MARGIN = (
    0.08,
    0.75,
    0.08,
)  # inches: from the axis to names, from the axis to the label of its scale, at the sides


def specification_figure(rows: pd.DataFrame, *, claim: dict[str, Any]) -> Figure:
    """Draw the effects in rising order with their intervals, and the choices behind each effect below it.

    rows: the specifications of the claim; the first one decides the claim
    """
    ranked = ranked_rows(rows)
    options = options_taken(rows, claim=claim)
    names = [
        f"{choice}: {option}" if option == taken[0] else option
        for choice, taken in options.items()
        for option in taken
    ]
    scale, unit = (100, "points") if claim["unit"].startswith("share of") else (1, claim["unit"])
    matrix = ROW * (len(names) + 0.6 * (len(options) - 1))
    place = int(ranked.index.get_loc(rows.index[0]))
    with styled():
        # Fixed layout: a report has thirty of these figures, and automatic layout takes longer than drawing.
        figure = new_figure(width=WIDTH, height=ABOVE + EFFECTS + BETWEEN + matrix + BELOW, layout="none")
        width, height = figure.get_size_inches()
        left = max(LABEL + 0.25, max(map(_width, names), default=0.0) + GAP + MARGIN)
        across = (left / width, (width - left - MARGIN) / width)
        upper = figure.add_axes((across[0], (BETWEEN + matrix + BELOW) / height, across[1], EFFECTS / height))
        lower = figure.add_axes((across[0], BELOW / height, across[1], matrix / height))
        # Half the width of the band; without the limit, few specifications would make it broad.
        half = min(0.5, len(ranked) / 60)
        for axis in (upper, lower):
            axis.axvspan(place - half, place + half, color="#DDE6EE", linewidth=0)
            axis.set_xticks([])
            axis.set_xlim(-1, len(ranked))
        _draw_effects(upper, ranked, scale=scale)
        upper.annotate("main choices", (place, 0), xycoords=("data", "axes fraction"), xytext=(0, -3),
                       textcoords="offset points", ha="center", va="top", fontsize=8.5)  # fmt: skip
        upper.set_ylabel(f"difference ({unit})" if unit else "difference")
        upper.yaxis.set_label_coords(-LABEL / (width - left - MARGIN), 0.5)
        _draw_choices(lower, ranked, options, names=names)
    return figure


def specification_caption(rows: pd.DataFrame, *, claim: dict[str, Any]) -> str:
    """Return the caption of a specification curve."""
    return (
        f"Effect ({minus(claim['comparison'])}) under {len(rows)} combinations of analysis choices, in "
        "rising order, with 95 % intervals. Effects above 0 have the direction of the claim. Dots "
        "below: the choices behind each effect. Shaded: the main choices, which decide the claim."
    )


def specification_findings(rows: pd.DataFrame, *, claim: dict[str, Any]) -> str:
    """Return the verdicts under all choices, and the choice that matters most, as a paragraph."""
    ranked, summary = ranked_rows(rows), claim["specifications"]
    fixed = f" Fixed in all combinations: {listed(claim['fixed'])}." if claim.get("fixed") else ""
    size, test = summary.get("median_d"), claim.get("joint_test")
    median = "" if size is None else f" Median effect size: d = {number(size, digits=2)}."
    if test:
        median += _joint(test, against_zero=str(claim.get("comparison", "")).endswith(" over 0"))
    return f"{_outcome(ranked)}{median} {_weakest(rows, claim=claim)}{fixed}"


def specification_alt(rows: pd.DataFrame) -> str:
    """Return the alternative text of a specification curve."""
    return (
        f"{len(rows)} differences with intervals in rising order, over a matrix of dots that shows the "
        f"choices behind each. {NUMBERS}"
    )


def ranked_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the specifications from the lowest effect to the highest."""
    return rows.sort_values(["effect", "specification"], kind="stable")


def options_taken(rows: pd.DataFrame, *, claim: dict[str, Any]) -> dict[str, list[str]]:
    """Return the choices that differ between the specifications of a claim, each with its options."""
    names = [choice["name"] for choice in claim["choices"] if choice["name"] in rows]
    options = {name: list(dict.fromkeys(rows[name])) for name in names}
    return {name: taken for name, taken in options.items() if len(taken) > 1}


def _draw_effects(axis: Axes, ranked: pd.DataFrame, *, scale: float) -> None:
    axis.axhline(0, color=TEXT, linewidth=0.9)
    places = np.arange(len(ranked))
    for verdict, (colour, marker, face) in SIGNS.items():
        chosen = (ranked["verdict"] == verdict).to_numpy()
        if not chosen.any():
            continue
        effects = scale * ranked.loc[chosen, ["effect", "low", "high"]]
        axis.vlines(places[chosen], effects["low"], effects["high"], color=colour, linewidth=1.3, alpha=0.55)
        axis.plot(places[chosen], effects["effect"], linestyle="none", marker=marker, color=colour,
                  markerfacecolor=face, label=f"{verdict} ({chosen.sum()})")  # fmt: skip
    axis.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axis.tick_params(bottom=False)
    axis.margins(y=0.12)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8.5, borderpad=0.3,
                handletextpad=0.2, columnspacing=1.2)  # fmt: skip


def _draw_choices(
    axis: Axes, ranked: pd.DataFrame, options: dict[str, list[str]], *, names: list[str]
) -> None:
    lines: dict[tuple[str, str], float] = {}
    line = 0.0
    for choice, taken in options.items():
        for option in taken:
            lines[choice, option] = line
            line += 1
        line += 0.6
    axis.hlines(list(lines.values()), 0, 1, transform=axis.get_yaxis_transform(), color="#E6E6E6",
                linewidth=0.7, zorder=0.9)  # fmt: skip
    for verdict, (colour, *_) in SIGNS.items():
        chosen = ranked["verdict"].eq(verdict)
        dots = [
            (place, height)
            for (choice, option), height in lines.items()
            for place in np.flatnonzero(chosen & ranked[choice].eq(option))
        ]
        axis.plot([x for x, _ in dots], [y for _, y in dots], linestyle="none", marker="o", markersize=3.4,
                  markeredgewidth=0, color=colour)  # fmt: skip
    for name, height in zip(names, lines.values(), strict=True):
        axis.annotate(name, (0, height), xycoords=("axes fraction", "data"), xytext=(-72 * GAP, 0),
                      textcoords="offset points", ha="right", va="center_baseline", fontsize=SIZE,
                      color="#444444")  # fmt: skip
    axis.set_ylim(line - 1.1, -0.5)
    axis.set_axis_off()


def _width(text: str) -> float:
    """Return the width of a name in inches."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=SIZE), False)[0] / 72


def _joint(test: dict[str, Any], *, against_zero: bool) -> str:
    """Return the joint test in words; with few trainings, its p-value cannot be small."""
    exchanged = "signs" if against_zero else "trainings"
    p, least = test["p_median"], test.get("least", 0.0)
    bound = f", the smallest that {test['relabellings']:,} allow" if p < least + 1e-9 else ""
    return (
        f" Joint test of all choices over {test['relabellings']:,} exchanges of {exchanged}: "
        f"p = {number(p, digits=2)}{bound}."
    )


def _outcome(ranked: pd.DataFrame) -> str:
    counts = {verdict: int((ranked["verdict"] == verdict).sum()) for verdict in SIGNS}
    above = int((ranked["effect"] > 0).sum())
    verdicts = listed(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"Verdicts: {verdicts}. {above} of {len(ranked)} differences are above 0."


def _weakest(rows: pd.DataFrame, *, claim: dict[str, Any]) -> str:
    """Return the option with the lowest agreement with the verdict of the claim."""
    agree = rows["verdict"] == claim["verdict"]
    if agree.all():
        return "No choice changes the verdict."
    shares = {
        f"{choice}: {option}": float(agree[rows[choice] == option].mean())
        for choice, taken in options_taken(rows, claim=claim).items()
        for option in taken
    }
    least = min(shares, key=lambda name: shares[name])
    return f"Agreement with the verdict is lowest for “{least}” ({100 * shares[least]:.0f} %)."
