"""Put the results on corrupted images into sentences: the most and the least affected arms."""

import pandas as pd

from stages.render.figures.robustness import panel_name, trial_name
from stages.render.words import fixed, signed
from stages.results.corrupted import CLEAN


def noise_findings(curves: pd.DataFrame) -> str:
    """Return for each head and label set which arm frequency noise affects least and most.

    curves: as `corrupted.noise_curves` returns them
    """
    sentences = []
    for (head, labels), part in curves.groupby(["head", "labels"], sort=False):
        by_arm = part.groupby("label", sort=False)["mean"].mean()
        by_frequency = part.groupby("frequency")["mean"].mean()
        name = panel_name(head, labels)
        if len(by_arm) == 1:
            sentences.append(f"{name}: {by_arm.index[0]} keeps {_mean(by_arm, by_arm.index[0])}.")
            continue
        best, worst = by_arm.idxmax(), by_arm.idxmin()
        sentences.append(
            f"{name}: {best} keeps the most ({_mean(by_arm, best)}), {worst} the least "
            f"({_mean(by_arm, worst)}); the most harmful band is at {by_frequency.idxmin():.2g} π."
        )
    start = "Share of the clean accuracy kept under noise, mean over frequency bands."
    return f"{start} {' '.join(sentences)}" if sentences else ""


def trial_findings(accuracy: pd.DataFrame) -> str:
    """Return for each head and label set which corruption costs the most accuracy, averaged over arms.

    accuracy: as `corrupted.accuracy_by_trial` returns it
    """
    sentences = []
    for (head, labels), part in accuracy.groupby(["head", "labels"], sort=False):
        table = 100 * part.pivot(index=["trial", "level"], columns="label", values="mean")
        if (CLEAN, 0.0) not in table.index or len(table) == 1:
            continue
        changes = (table.drop((CLEAN, 0.0)) - table.loc[(CLEAN, 0.0)]).mean(axis=1)
        worst = changes.idxmin()
        sentences.append(
            f"{panel_name(head, labels)}: {trial_name(*worst)} ({signed(changes[worst])} points)."
        )
    start = "Most harmful corruption, mean over arms."
    return f"{start} {' '.join(sentences)}" if sentences else ""


def _mean(values: pd.Series, label: str) -> str:
    return f"{fixed(float(values[label]), decimals=0)} %"
