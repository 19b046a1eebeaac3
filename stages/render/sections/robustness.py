"""Robustness: frequency noise, corruptions, shape against texture."""

from typing import Any

import pandas as pd

from stages.render.figures.line_charts import Inks
from stages.render.figures.robustness import (
    noise_alt,
    noise_caption,
    noise_figure,
    panel_name,
    trial_alt,
    trial_caption,
    trial_figure,
    trial_name,
)
from stages.render.figures.shape_bias import bias_alt, bias_caption, bias_figure, bias_name
from stages.render.page.figure_card import show
from stages.render.page.html_table import folded, table
from stages.render.page.notebook_output import conclude, put
from stages.render.sections.robustness_findings import noise_findings, trial_findings
from stages.render.words import interval
from stages.results.corrupted import (
    CONFLICT,
    LOST_BLOCK,
    NOISE,
    accuracy_by_trial,
    noise_curves,
    shape_bias,
)
from stages.results.study_results import Results

BIAS = (
    "Shape bias by test. For drawn images, the linear probe is trained on images whose shape and texture "
    "agree"
)


def robustness_section(results: Results, *, inks: Inks, folder: str = "") -> None:
    """Show the accuracy under frequency noise (Fig. 9 right) and corruptions, and the shape bias.

    Raises StudyError if a table is missing.
    """
    accuracy = accuracy_by_trial(results)
    put("<h3>Robustness to noise and corruptions</h3>")
    noise = noise_curves(results)
    if len(noise):
        conclude(noise_findings(noise))
        show(
            noise_figure(noise, inks=inks),
            name="frequency-noise",
            alt=noise_alt(noise),
            caption=noise_caption(noise),
            data=noise,
            folder=folder,
        )
    others = accuracy[~accuracy["trial"].isin([NOISE, CONFLICT, LOST_BLOCK])]
    stimuli = list(results.study.robustness.stimuli)
    conclude(trial_findings(others, stimuli=stimuli))
    show(
        trial_figure(others, inks=inks),
        name="corruptions",
        alt=trial_alt(others),
        caption=trial_caption(others, stimuli=stimuli),
        data=others,
        folder=folder,
    )
    put(
        folded(
            "Table: accuracy by corruption", table(trial_rows(others), caption="Accuracy (%) by corruption")
        )
    )
    bias = shape_bias(results)
    if len(bias):
        show(
            bias_figure(bias, inks=inks),
            name="shape-bias",
            alt=bias_alt(bias),
            caption=bias_caption(bias),
            data=bias,
            folder=folder,
        )
        put(folded("Table: shape bias", table(bias_rows(bias), caption=BIAS)))


def trial_rows(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return one row per head, label set and corruption, and one column per arm."""
    rows: dict[str, dict[str, str]] = {}
    for row in accuracy.to_dict("records"):
        name = f"{panel_name(row['head'], row['labels'])}, {trial_name(row['trial'], row['level'])}"
        numbers = (100 * row[column] for column in ("mean", "low", "high"))
        rows.setdefault(name, {})[row["label"]] = interval(*numbers, decimals=1)
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("corruption")


def bias_rows(bias: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm: the shape bias of each test and head, with its number of decisions."""
    rows: dict[str, dict[Any, str]] = {}
    for row in bias.to_dict("records"):
        numbers = (100 * row[column] for column in ("mean", "low", "high"))
        name = bias_name(str(row["trial"]), str(row["head"]))
        text = f"{interval(*numbers, unit='%', decimals=1)}; {row['decisions']:,} decisions"
        rows.setdefault(row["label"], {})[name] = text
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("arm")
