"""The tables for `dvc plots`. Each holds all arms, because a plot in dvc.yaml names files, not arms."""

import html

import pandas as pd

from stages.results.accuracies import accuracies
from stages.results.analysis_curves import block_curves
from stages.results.study_results import FINE_TUNED, Results

COLUMNS = {
    "losses": ["arm", "epoch", "loss", "lr"],
    "accuracies": ["arm", "labels", "linear", "fine_tuned"],
    "distance": ["arm", "block", "distance"],
    "nmi": ["arm", "block", "nmi"],
    "log_amplitude": ["arm", "block", "log_amplitude"],
}


def plot_tables(results: Results) -> dict[str, pd.DataFrame]:
    """Return the tables by the names of their files.

    losses:                       arm, epoch, loss of pre-training, lr
    accuracies:                   arm, labels (the label set), linear, fine_tuned (fractions)
    distance, nmi, log_amplitude: arm, block, measure of that name
    arm is the label; numbers are means over seeds. Analyses that the study lacks get a table without rows.
    Raises StudyError naming a file that is missing or lacks a number.
    """
    tables = {"losses": losses(results), "accuracies": trade_off(results)}
    for analysis, measure in (("attention", "distance"), ("attention", "nmi"), ("fourier", "log_amplitude")):
        if analysis in results.study.analyses:
            tables[measure] = course(results, analysis=analysis, measure=measure)
    # DVC's page interprets text as HTML and fails if a table is missing.
    return {name: safe(tables.get(name, pd.DataFrame()), columns) for name, columns in COLUMNS.items()}


def safe(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return a table with exactly these columns and HTML-escaped labels."""
    table = table.reindex(columns=columns)
    return table.assign(arm=[html.escape(f"{label}", quote=False) for label in table["arm"]])


def losses(results: Results) -> pd.DataFrame:
    """Return loss and learning rate of every trained arm by epoch."""
    parts = []
    for arm in results.arms:
        history = results.history(arm)
        if len(history):
            means = history.groupby("epoch", as_index=False)[["loss", "lr"]].mean()
            parts.append(means.assign(arm=results.label(arm)))
    return pd.concat(parts)[["arm", "epoch", "loss", "lr"]] if parts else pd.DataFrame()


def trade_off(results: Results) -> pd.DataFrame:
    """Return the accuracies of the linear probe and after fine-tuning, side by side (Paper: §1, Fig. 1)."""
    rows = accuracies(results, probes=["linear"])
    table = rows.pivot_table(index=["label", "labels"], columns="evaluation", values="mean", sort=False)
    table = table[["linear", FINE_TUNED]].rename(columns={FINE_TUNED: "fine_tuned"}).reset_index()
    return table.rename(columns={"label": "arm"})


def course(results: Results, *, analysis: str, measure: str) -> pd.DataFrame:
    """Return the mean of a measure in every block (Paper: Fig. 3, 4, 8)."""
    highest = analysis == "fourier"
    curves = block_curves(results, analysis=analysis, measure=measure, highest_frequency=highest)
    return curves.rename(columns={"label": "arm", "mean": measure})[["arm", "block", measure]]
