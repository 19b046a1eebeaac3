"""Accuracy on corrupted images, by frequency of the noise and by corruption."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, alt_text, bands
from stages.render.figures.line_charts import Inks, draw_curves, draw_ticks, label_line_ends, panels, share
from stages.render.figures.name_placing import settle
from stages.render.figures.style import Ink, darker, styled


def noise_figure(curves: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw relative accuracy against the frequency of the noise, one panel per head and label set."""
    groups = list(curves.groupby(["head", "labels"], sort=False))
    with styled():
        figure, axes = panels(len(groups), height=3.0, columns=2)
        for axis, ((head, labels), part) in zip(axes, groups, strict=True):
            draw_curves(axis, part, inks=inks, x="frequency")
            axis.axhline(100, color="#777777", linewidth=0.8)
            axis.set(title=panel_name(head, labels), xlabel="frequency of the noise (π)")
        share(axes, ylabel="relative accuracy (%)")
        settle(figure)
        for axis, (_, part) in zip(axes, groups, strict=True):
            label_line_ends(axis, part, inks=inks, x="frequency")
    return figure


def noise_caption(curves: pd.DataFrame) -> str:
    """Return the caption of the noise figure."""
    return (
        "Accuracy under noise in one frequency band relative to clean images, mean over amplitudes. Bands "
        "have equal energy; above 1 π they are corners of the spectrum. "
        f"{bands(curves)}"
    )


def noise_alt(curves: pd.DataFrame) -> str:
    """Return the alternative text of the noise figure."""
    return alt_text("Line charts of relative accuracy against the frequency of the noise.", curves["label"])


def trial_figure(accuracy: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw accuracy on clean and corrupted images, one row per corruption, with panels as for the noise."""
    groups = list(accuracy.groupby(["head", "labels"], sort=False))
    names = list(dict.fromkeys(zip(accuracy["trial"], accuracy["level"], strict=True)))
    labels_of_arms = list(dict.fromkeys(accuracy["label"]))
    with styled():
        figure, axes = panels(len(groups), height=1.0 + 0.36 * len(names), columns=2)
        for axis, ((head, labels), part) in zip(axes, groups, strict=True):
            for place, label in enumerate(labels_of_arms):
                of_arm = part[part["label"] == label].set_index(["trial", "level"])
                rows = [row for row, name in enumerate(names) if name in of_arm.index]
                mean, low, high = (
                    100 * of_arm.loc[[names[row] for row in rows], column].to_numpy()
                    for column in ("mean", "low", "high")
                )
                ink: Ink = inks[label]
                aside = 0.5 * (place + 0.5) / len(labels_of_arms) - 0.25
                for row in rows:
                    draw_ticks(axis, of_arm.loc[names[row]], place=row + aside, ink=ink, scale=100, size=4)
                axis.errorbar(
                    mean,
                    np.array(rows) + aside,
                    xerr=[mean - low, high - mean],
                    linestyle="none",
                    marker=ink.marker,
                    color=ink.colour,
                    linewidth=1,
                    label=label,
                )
            axis.set_yticks(range(len(names)), [trial_name(*name) for name in names])
            axis.set(title=panel_name(head, labels), xlabel="accuracy (%)", xlim=(0, 100))
            axis.set_ylim(len(names) - 0.5, -0.5)
        lines = axes[0].get_legend_handles_labels()
        legend = figure.legend(*lines, loc="outside upper center", ncols=4, frameon=False)
        for text in legend.get_texts():
            text.set_color(darker(inks[text.get_text()].colour))
    return figure


def trial_caption(accuracy: pd.DataFrame) -> str:
    """Return the caption of the corruptions."""
    return f"Accuracy on clean and corrupted held-out images. {bands(accuracy, marks=DOTS)}"


def trial_alt(accuracy: pd.DataFrame) -> str:
    """Return the alternative text of the corruptions."""
    return alt_text("Dots with error bars of accuracy, a row per corruption.", accuracy["label"])


def panel_name(head: Any, labels: Any) -> str:
    """Return head and label set in words."""
    name = {"linear": "Linear probe", "fine-tuned": "Fine-tuned"}[str(head)]
    return name if labels == "class" else f"{name}, {labels}"


def trial_name(trial: str, level: float) -> str:
    """Return a corruption and its level in words."""
    units = {"patch_shuffle": f"{level:g} × {level:g} tiles shuffled",
             "amplitude_exchange": f"{100 * level:.0f} % of amplitudes exchanged"}  # fmt: skip
    return units.get(trial, trial.replace("_", " "))
