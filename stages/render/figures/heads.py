"""A measure of every head: one panel per arm, one dot per head and training."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text
from stages.render.figures.line_charts import Inks, log_axis, panels, share, title_of, whole_ticks
from stages.render.figures.style import styled
from stages.render.words import any_of


def head_figure(
    heads: pd.DataFrame, curves: pd.DataFrame, *, inks: Inks, ylabel: str, log: bool = False
) -> Figure:
    """Draw one small panel per label: a dot per head and block, and the line of their mean.

    heads:  label, seed, block, head, mean
    curves: label, block, mean
    log:    whether the scale is logarithmic
    """
    labels = list(dict.fromkeys(heads["label"]))
    with styled():
        figure, axes = panels(len(labels), height=2.5)
        for axis, label in zip(axes, labels, strict=True):
            ink = inks[label]
            dots = heads[heads["label"] == label]
            line = curves[curves["label"] == label]
            # Heads of a block are drawn side by side, so that equal values do not hide each other.
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
        for axis in axes if log else ():
            log_axis(axis)
        share(axes, ylabel=ylabel)
        for axis in axes if log else ():
            log_axis(axis)
    return figure


def head_caption(heads: pd.DataFrame, *, measure: str) -> str:
    """Return the caption of a figure of single heads.

    heads: as `analysis_curves.head_means` returns them
    """
    counted = ", ".join(
        f"{any_of(counts)} {noun}{'' if counts == [1] else 's'} per {place}"
        for column, noun, place in (("head", "head", "block"), ("seed", "training", "arm"))
        if (counts := sorted(heads.groupby("label")[column].nunique().unique()))
    )
    return f"{measure} of every head of every training (dots; {counted}) and the mean over all (line)."


def head_alt(heads: pd.DataFrame, *, measure: str) -> str:
    """Return the alternative text of a figure of single heads."""
    return alt_text(f"{measure} of every head against block, a panel of dots per arm.", heads["label"])
