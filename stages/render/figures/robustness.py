"""Accuracy on corrupted images, by frequency of the noise and by corruption."""

from collections.abc import Collection
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, alt_text, bands
from stages.render.figures.dot_charts import grouped_figure, per_cent
from stages.render.figures.line_charts import Inks, draw_curves, label_line_ends, panels, share
from stages.render.figures.name_placing import settle
from stages.render.figures.style import styled
from stages.render.words import listed


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
    """Draw accuracy on clean and corrupted images, one group per corruption, with panels as for the noise."""
    tables = {
        panel_name(head, labels): per_cent(rows).assign(
            group=[
                trial_name(trial, level) for trial, level in zip(rows["trial"], rows["level"], strict=True)
            ]
        )
        for (head, labels), rows in accuracy.groupby(["head", "labels"], sort=False)
    }
    return grouped_figure(tables, inks=inks, xlabel="accuracy (%)")


def trial_caption(accuracy: pd.DataFrame, *, stimuli: Collection[str] = ()) -> str:
    """Return the caption of the corruptions. stimuli: trials of other images"""
    others = [name.replace("_", " ") for name in stimuli if name in set(accuracy["trial"])]
    also = f" and on {listed(others)} (other images, not comparable with clean ones)" if others else ""
    return f"Accuracy on clean and corrupted held-out images{also}. {bands(accuracy, marks=DOTS)}"


def trial_alt(accuracy: pd.DataFrame) -> str:
    """Return the alternative text of the corruptions."""
    return alt_text("Dots with error bars of accuracy, a group of rows per corruption.", accuracy["label"])


def panel_name(head: Any, labels: Any) -> str:
    """Return head and label set in words."""
    name = {"linear": "Linear probe", "fine-tuned": "Fine-tuned"}[str(head)]
    return name if labels == "class" else f"{name}, {labels}"


def trial_name(trial: str, level: float) -> str:
    """Return a corruption and its level in words."""
    units = {"patch_shuffle": f"{level:g} × {level:g} tiles shuffled",
             "amplitude_exchange": f"{100 * level:.0f} % of amplitudes exchanged"}  # fmt: skip
    name = trial.replace("_", " ")
    return units.get(trial, name if level in (0, 1) else f"{name}, level {level:g}")
