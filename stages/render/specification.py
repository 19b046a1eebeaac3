"""Specification curves: one claim under every choice it depends on, and the choices below each point."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.render.prose import listed, number
from stages.render.style import TEXT, new_figure, styled

# The words of the claims table, in colours with 3:1 contrast on white, and in signs that need no colour.
SIGNS = {
    "supported": ("#00805F", "o", "#00805F"),
    "undecided": ("#8C6D00", "o", "white"),
    "contradicted": ("#B3261E", "s", "#B3261E"),
}
ROW = 0.19  # inches of a line of the choice matrix


def curves(
    claims: list[dict[str, Any]], specifications: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The claims that were decided in more than one way, each with its specifications.

    specifications: as `results.specifications` gives them
    """
    for claim in claims:
        rows = specifications[specifications["claim"] == claim["name"]]
        if len(rows) > 1:
            yield claim, rows.dropna(axis="columns", how="all")


def specification_figure(rows: pd.DataFrame, *, claim: dict[str, Any]) -> Figure:
    """The effects from the lowest to the highest with their intervals; below each, the choices behind it.

    rows: the specifications of the claim; the first decides it
    """
    ranked = ranked_rows(rows)
    options = options_taken(rows, claim=claim)
    scale, unit = (100, "points") if claim["unit"] == "share of images" else (1, claim["unit"])
    lines = sum(len(taken) for taken in options.values()) + 0.6 * (len(options) - 1)
    with styled():
        figure = new_figure(height=2.9 + ROW * lines)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.1, ROW * lines])
        place = int(ranked.index.get_loc(rows.index[0]))
        half = min(
            0.5, len(ranked) / 60
        )  # of the width of the band, which few specifications would make broad
        for axis in (upper, lower):
            axis.axvspan(place - half, place + half, color="#DDE6EE", linewidth=0)
            axis.grid(visible=False, axis="x")
        _draw_effects(upper, ranked, scale=scale)
        upper.annotate("main choice", (place, 0), xycoords=("data", "axes fraction"), xytext=(0, -3),
                       textcoords="offset points", ha="center", va="top", fontsize=8.5)  # fmt: skip
        upper.set_ylabel(f"difference ({unit})" if unit else "difference")
        _draw_choices(lower, ranked, options)
        lower.set_xlim(-1, len(ranked))
    return figure


def specification_caption(rows: pd.DataFrame, *, claim: dict[str, Any]) -> str:
    """Caption of a specification curve: what is drawn, what comes out, and on which choice it hangs."""
    ranked, found = ranked_rows(rows), claim["specifications"]
    fixed = f" The same in all: {listed(claim['fixed'])}." if claim.get("fixed") else ""
    median = "" if found.get("median_d_z") is None else (
        f" Median effect: {number(found['median_d_z'], digits=2)} standard deviations (d)."
    )  # fmt: skip
    return (
        f"{claim['statement']} {claim['comparison'].capitalize()}, decided under {len(rows)} combinations of "
        "choices, from the lowest difference to the highest, each with its 95 % interval; above 0 is as the "
        "paper says. The band marks the main choice, which decides the claim. "
        f"{_outcome(ranked)}{median} {_weakest(rows, claim=claim)}{fixed}"
    )


def specification_alt(rows: pd.DataFrame, *, claim: dict[str, Any]) -> str:
    """Alternative text of a specification curve: the range of the effects, the main one, and the verdicts."""
    ranked, scale = ranked_rows(rows), 100 if claim["unit"] == "share of images" else 1
    unit = "points" if claim["unit"] == "share of images" else claim["unit"]
    low, main, high = (
        f"{number(scale * value)} {unit}".strip()
        for value in (ranked["effect"].iloc[0], rows["effect"].iloc[0], ranked["effect"].iloc[-1])
    )
    return (
        f"{_outcome(ranked)} {len(rows)} differences in rising order, from {low} to {high}, over a matrix of "
        f"dots that shows which choices are behind each; the main choice gives {main}. "
        f"{_weakest(rows, claim=claim)}"
    )


def ranked_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The specifications from the lowest effect to the highest."""
    return rows.sort_values(["effect", "specification"], kind="stable")


def options_taken(rows: pd.DataFrame, *, claim: dict[str, Any]) -> dict[str, list[str]]:
    """The choices of a claim that its specifications differ in, each with the options that they took."""
    names = [choice["name"] for choice in claim["choices"] if choice["name"] in rows]
    found = {name: list(dict.fromkeys(rows[name])) for name in names}
    return {name: taken for name, taken in found.items() if len(taken) > 1}


def _draw_effects(axis: Axes, ranked: pd.DataFrame, *, scale: float) -> None:
    axis.axhline(0, color=TEXT, linewidth=0.9)
    places = np.arange(len(ranked))
    for verdict, (colour, marker, face) in SIGNS.items():
        here = (ranked["verdict"] == verdict).to_numpy()
        if not here.any():
            continue
        own = scale * ranked.loc[here, ["effect", "low", "high"]]
        axis.vlines(places[here], own["low"], own["high"], color=colour, linewidth=1.3, alpha=0.55)
        axis.plot(places[here], own["effect"], linestyle="none", marker=marker, color=colour,
                  markerfacecolor=face, label=f"{verdict} ({here.sum()})")  # fmt: skip
    axis.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axis.tick_params(bottom=False)
    axis.margins(y=0.12)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8.5, borderpad=0.3,
                handletextpad=0.2, columnspacing=1.2)  # fmt: skip


def _draw_choices(axis: Axes, ranked: pd.DataFrame, options: dict[str, list[str]]) -> None:
    ticks: list[float] = []
    names: list[str] = []
    line = 0.0
    for choice, taken in options.items():
        for option in taken:
            for verdict, (colour, *_) in SIGNS.items():
                dots = np.flatnonzero(ranked[choice].eq(option) & ranked["verdict"].eq(verdict))
                axis.plot(dots, np.full(len(dots), line), linestyle="none", marker="o", markersize=3.4,
                          markeredgewidth=0, color=colour)  # fmt: skip
            ticks.append(line)
            names.append(f"{choice}: {option}" if option == taken[0] else option)
            line += 1
        line += 0.6
    axis.set_yticks(ticks, names, fontsize=8.5)
    axis.set_ylim(line - 0.6, -0.8)
    axis.set_xticks([])
    axis.tick_params(left=False)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)


def _outcome(ranked: pd.DataFrame) -> str:
    counts = {verdict: int((ranked["verdict"] == verdict).sum()) for verdict in SIGNS}
    above = int((ranked["effect"] > 0).sum())
    said = listed(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{said[0].upper()}{said[1:]}; {above} of {len(ranked)} differences are above 0."


def _weakest(rows: pd.DataFrame, *, claim: dict[str, Any]) -> str:
    """Under which option the fewest choices give the verdict of the claim."""
    agree = rows["verdict"] == claim["verdict"]
    if agree.all():
        return "No choice changes the verdict."
    shares = {
        f"{choice}: {option}": float(agree[rows[choice] == option].mean())
        for choice, taken in options_taken(rows, claim=claim).items()
        for option in taken
    }
    least = min(shares, key=lambda name: shares[name])
    return f"Fewest agree with the verdict under “{least}” ({100 * shares[least]:.0f} %)."
