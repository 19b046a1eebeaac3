"""A measure of every head: a panel per arm, a dot per head of every training."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.line_charts import Inks, panels, share, title_of, whole_ticks
from stages.render.figures.style import styled
from stages.render.words import listed, number


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


def head_caption(heads: pd.DataFrame, *, measure: str, unit: str = "") -> str:
    """Caption of a figure of single heads: what is drawn, and how far apart the heads of the last block are.

    heads: as `analysis_curves.head_means` gives them
    """
    spans = listed(f"{label} {span}" for label, span in _spans(heads, unit).items())
    return f"{measure} of every head of every training (dots) and their mean (line). Last block: {spans}."


def head_alt(heads: pd.DataFrame, *, measure: str, unit: str = "") -> str:
    """Alternative text of a figure of single heads: whose heads differ most, then the range of each."""
    spans = listed(f"{label} {span}" for label, span in _spans(heads, unit).items())
    count = heads["head"].nunique()
    last = heads[heads["depth"] == 1].groupby("label", sort=False)["mean"]
    widest = (last.max() - last.min()).idxmax()
    return (
        f"In the last block, the heads of {widest} differ most in {measure}. A panel per arm with "
        f"{measure} of {count} heads against block. Range in the last block: {spans}."
    )


def _spans(heads: pd.DataFrame, unit: str) -> dict[str, str]:
    """Lowest and highest head of the last block of each label."""
    said = {}
    for label, rows in heads.groupby("label", sort=False):
        last = rows[rows["depth"] == 1]["mean"]
        said[str(label)] = f"{number(last.min())} to {number(last.max())}" + (f" {unit}" if unit else "")
    return said
