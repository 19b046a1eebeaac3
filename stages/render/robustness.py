"""What is left of each arm's accuracy on images it was not made for."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.render.captions import DOTS, bands
from stages.render.curves import Inks, draw_curves, draw_ticks, label_line_ends, panels, share
from stages.render.figures import show
from stages.render.labels import settle
from stages.render.prose import fixed, folded, interval, listed, put
from stages.render.style import Ink, darker, styled
from stages.render.table import table
from stages.results.corrupted import (
    CONFLICT,
    LOST_BLOCK,
    NOISE,
    accuracy_by_trial,
    noise_curves,
    shape_bias,
)
from stages.results.study_results import Results


def robustness_section(results: Results, *, inks: Inks, folder: str = "") -> None:
    """Show the whole section: frequency noise (Fig. 9 right), corruptions, and shape against texture.

    Raises StudyError if a table is missing.
    """
    accuracy = accuracy_by_trial(results)
    put("<h3>What they can do with other images</h3>")
    noise = noise_curves(results)
    if len(noise):
        show(
            noise_figure(noise, inks=inks),
            name="frequency-noise",
            alt=noise_alt(noise),
            caption=noise_caption(noise),
            data=noise,
            folder=folder,
        )
    others = accuracy[~accuracy["trial"].isin([NOISE, CONFLICT, LOST_BLOCK])]
    show(
        trial_figure(others, inks=inks),
        name="corruptions",
        alt=trial_alt(others),
        caption=trial_caption(others),
        data=others,
        folder=folder,
    )
    put(folded("These accuracies in numbers", table(trial_rows(others), caption="Accuracy (%) by trial")))
    bias = shape_bias(results)
    if len(bias):
        put(table(bias_rows(bias), caption=bias_caption()))


def noise_figure(curves: pd.DataFrame, *, inks: Inks) -> Figure:
    """Change of accuracy against the frequency of the noise, a panel per head and label set."""
    groups = list(curves.groupby(["head", "labels"], sort=False))
    with styled():
        figure, axes = panels(len(groups), height=3.0, columns=2)
        for axis, ((head, labels), part) in zip(axes, groups, strict=True):
            draw_curves(axis, part, inks=inks, x="frequency")
            axis.axhline(0, color="#777777", linewidth=0.8)
            axis.set(title=_panel(head, labels), xlabel="frequency of the noise (π)")
        share(axes, ylabel="change of accuracy (points)")
        settle(figure)
        for axis, (_, part) in zip(axes, groups, strict=True):
            label_line_ends(axis, part, inks=inks, x="frequency")
    return figure


def noise_caption(curves: pd.DataFrame) -> str:
    """What is drawn, and in which band each arm loses most."""
    said = ["Largest losses.", *_losses(curves)]
    return (
        "Accuracy under noise in one band of frequencies less accuracy on the same images without it, in "
        f"percentage points; every band of frequencies has the same energy. {bands(curves)} "
        f"{' '.join(said)} Paper: Fig. 9 right, whose numbers are not published."
    )


def noise_alt(curves: pd.DataFrame) -> str:
    """For each line, where it starts and ends."""
    said = _losses(curves)
    said.append(
        "Line charts of the change of accuracy against the frequency of added noise, one line per arm."
    )
    for (head, labels, label), line in curves.groupby(["head", "labels", "label"], sort=False):
        ends = (fixed(line["mean"].iloc[place], decimals=1) for place in (0, -1))
        said.append(f"{_panel(head, labels)}, {label}: {' to '.join(ends)} points.")
    return " ".join(said)


def trial_figure(accuracy: pd.DataFrame, *, inks: Inks) -> Figure:
    """Accuracy on clean and corrupted images: a row per trial, a dot per arm, panels as for the noise."""
    groups = list(accuracy.groupby(["head", "labels"], sort=False))
    names = list(dict.fromkeys(zip(accuracy["trial"], accuracy["level"], strict=True)))
    labels_of_arms = list(dict.fromkeys(accuracy["label"]))
    with styled():
        figure, axes = panels(len(groups), height=1.0 + 0.36 * len(names), columns=2)
        for number, (axis, ((head, labels), part)) in enumerate(zip(axes, groups, strict=True)):
            for place, label in enumerate(labels_of_arms):
                own = part[part["label"] == label].set_index(["trial", "level"])
                rows = [row for row, name in enumerate(names) if name in own.index]
                mean, low, high = (
                    100 * own.loc[[names[row] for row in rows], column].to_numpy()
                    for column in ("mean", "low", "high")
                )
                ink: Ink = inks[label]
                aside = 0.5 * (place + 0.5) / len(labels_of_arms) - 0.25
                for row in rows:
                    draw_ticks(axis, own.loc[names[row]], place=row + aside, ink=ink, scale=100, size=4)
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
            axis.set_yticks(range(len(names)), [_trial(*name) for name in names])
            axis.set(title=_panel(head, labels), xlabel="accuracy (%)", xlim=(0, 100))
            axis.set_ylim(len(names) - 0.5, -0.5)
            if number % 2:  # beside a panel with the same rows
                axis.tick_params(labelleft=False)
        lines = axes[0].get_legend_handles_labels()
        legend = figure.legend(*lines, loc="outside upper center", ncols=4, frameon=False)
        for text in legend.get_texts():
            text.set_color(darker(inks[text.get_text()].colour))
    return figure


def trial_caption(accuracy: pd.DataFrame) -> str:
    """What is drawn, and the mean over the corruptions of each arm."""
    return (
        f"Accuracy on held-out images as they are and corrupted. {bands(accuracy, marks=DOTS)} Mean over "
        "the corruptions, from highest to lowest. "
        f"{' '.join(_means(accuracy))}"
    )


def trial_alt(accuracy: pd.DataFrame) -> str:
    """Every number of the figure."""
    said = ["Mean over the corruptions.", *_means(accuracy)]
    said.append("Dot charts of accuracy by corruption, one dot per arm.")
    columns = ["head", "labels", "trial", "level"]
    for (head, labels, trial, level), part in accuracy.groupby(columns, sort=False):
        numbers = listed(
            f"{label} {fixed(100 * value, decimals=0)} %"
            for label, value in zip(part["label"], part["mean"], strict=True)
        )
        said.append(f"{_panel(head, labels)}, {_trial(trial, level)}: {numbers}.")
    return " ".join(said)


def trial_rows(accuracy: pd.DataFrame) -> pd.DataFrame:
    """One row per head, label set and trial; one column per arm."""
    rows: dict[str, dict[str, str]] = {}
    for row in accuracy.to_dict("records"):
        name = f"{_panel(row['head'], row['labels'])}, {_trial(row['trial'], row['level'])}"
        numbers = (100 * row[column] for column in ("mean", "low", "high"))
        rows.setdefault(name, {})[row["label"]] = interval(*numbers, decimals=1)
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("trial")


def bias_rows(bias: pd.DataFrame) -> pd.DataFrame:
    """One row per arm; the shape bias of each trial and head, and on how many decisions it rests."""
    rows: dict[str, dict[Any, str]] = {}
    for row in bias.to_dict("records"):
        numbers = (100 * row[column] for column in ("mean", "low", "high"))
        name = f"{str(row['trial']).replace('_', ' ')}, {row['head']}"
        said = f"{interval(*numbers, unit='%', decimals=1)} of {row['decisions']:,} decisions"
        rows.setdefault(row["label"], {})[name] = said
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("arm")


def bias_caption() -> str:
    """What shape bias is here."""
    return (
        "Shape bias: the share of decisions for the shape among those for shape or texture, where the two "
        "differ (paper §3, Fig. 9 left; Geirhos et al. 2019). In a cue conflict of this data, a linear probe "
        "was trained on images whose shape and texture agree, and is shown images in which they do not."
    )


def _losses(curves: pd.DataFrame) -> list[str]:
    """In which band each arm loses most, a sentence per panel."""
    said = []
    for (head, labels), part in curves.groupby(["head", "labels"], sort=False):
        worst = part.loc[part.groupby("label", sort=False)["mean"].idxmin()]
        losses = listed(
            f"{row.label} {fixed(row.mean, decimals=1)} at {row.frequency:.2f} π"
            for row in worst.itertuples()
        )
        said.append(f"{_panel(head, labels)}: {losses}.")
    return said


def _means(accuracy: pd.DataFrame) -> list[str]:
    """The mean over the corruptions of each arm, from highest to lowest, a sentence per panel."""
    said = []
    for (head, labels), part in accuracy.groupby(["head", "labels"], sort=False):
        drop = part[part["trial"] != "clean"].groupby("label", sort=False)["mean"].mean()
        ranked = drop.sort_values(ascending=False)
        told = listed(f"{label} {fixed(100 * value, decimals=1)} %" for label, value in ranked.items())
        said.append(f"{_panel(head, labels)}: {told}.")
    return said


def _panel(head: Any, labels: Any) -> str:
    name = {"linear": "Linear probe", "fine-tuned": "Fine-tuned"}[str(head)]
    return name if labels == "class" else f"{name}, {labels}"


def _trial(trial: str, level: float) -> str:
    units = {"patch_shuffle": f"{level:g} × {level:g} tiles shuffled",
             "amplitude_exchange": f"amplitudes exchanged, {100 * level:.0f} %"}  # fmt: skip
    return units.get(trial, trial.replace("_", " "))
