"""The tables that DVC's own plots draw, each of all arms: DVC knows the files of a plot, not the arms."""

from collections.abc import Mapping

import pandas as pd

from stages.analyses.settings import AnalysisSettings
from stages.render.results import FINE_TUNED, accuracies, histories
from stages.render.tables import Arms, block_curves


def plot_tables(arms: Arms, *, analyses: Mapping[str, AnalysisSettings]) -> dict[str, pd.DataFrame]:
    """The tables by the names of their files; one that would have no rows is left out.

    losses:                       arm, epoch, loss of pre-training, lr
    accuracies:                   arm, labels (the label set), linear, fine_tuned (fractions)
    distance, nmi, log_amplitude: arm, block, that measure, of the analyses that the study has
    arm is the label; replicates are averaged.
    Raises StudyError naming a file that is missing or lacks a number.
    """
    tables = {"losses": losses(arms), "accuracies": trade_off(arms)}
    for analysis, measure in (("attention", "distance"), ("attention", "nmi"), ("fourier", "log_amplitude")):
        if analysis in analyses:
            tables[measure] = course(arms, analysis=analysis, measure=measure)
    return {name: table for name, table in tables.items() if len(table)}


def losses(arms: Arms) -> pd.DataFrame:
    """Loss and learning rate of every trained arm by epoch."""
    found = [
        pd.concat(runs).groupby("epoch", as_index=False)[["loss", "lr"]].mean().assign(arm=label)
        for label, runs in histories(arms).items()
    ]
    return pd.concat(found)[["arm", "epoch", "loss", "lr"]] if found else pd.DataFrame()


def trade_off(arms: Arms) -> pd.DataFrame:
    """Accuracy of the linear probe beside that after fine-tuning (Paper: §1, Fig. 1)."""
    found = accuracies(arms, probes=["linear"])
    table = found.pivot_table(index=["label", "labels"], columns="evaluation", values="accuracy", sort=False)
    table = table[["linear", FINE_TUNED]].rename(columns={FINE_TUNED: "fine_tuned"}).reset_index()
    return table.rename(columns={"label": "arm"})


def course(arms: Arms, *, analysis: str, measure: str) -> pd.DataFrame:
    """The mean of a measure in every block (Paper: Fig. 3, 4, 8)."""
    highest = analysis == "fourier"
    curves = block_curves(arms, analysis=analysis, measure=measure, highest_frequency=highest)
    return curves.rename(columns={"label": "arm", "mean": measure})[["arm", "block", measure]]
