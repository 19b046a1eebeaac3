"""Put the results on corrupted images into sentences: the most and the least affected arms."""

import pandas as pd

from stages.render.figures.robustness import panel_name, trial_name
from stages.render.words import fixed, listed, signed
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
            sentences.append(f"{name}: {_mean(by_arm, by_arm.index[0])} of the clean accuracy.")
            continue
        sentences.append(
            f"{name}: noise affects {by_arm.idxmax()} least ({_mean(by_arm, by_arm.idxmax())} of the clean "
            f"accuracy) and {by_arm.idxmin()} most ({_mean(by_arm, by_arm.idxmin())}); over all arms, the "
            f"most harmful band is at {by_frequency.idxmin():.2g} π."
        )
    return f"Mean over frequency bands. {' '.join(sentences)}" if sentences else ""


def trial_findings(accuracy: pd.DataFrame) -> str:
    """Return for each head and label set which corruption costs the most accuracy, by arm.

    accuracy: as `corrupted.accuracy_by_trial` returns it
    """
    sentences = []
    for (head, labels), part in accuracy.groupby(["head", "labels"], sort=False):
        table = 100 * part.pivot(index=["trial", "level"], columns="label", values="mean")
        if (CLEAN, 0.0) not in table.index or len(table) == 1:
            continue
        changes = table.drop((CLEAN, 0.0)) - table.loc[(CLEAN, 0.0)]
        worst = changes.mean(axis=1).idxmin()
        arms = listed(
            f"{label} {signed(changes.loc[worst, label])}" for label in dict.fromkeys(part["label"])
        )
        sentences.append(
            f"{panel_name(head, labels)}: “{trial_name(*worst)}” costs the most ({arms} points)."
        )
    return " ".join(sentences)


def _mean(values: pd.Series, label: str) -> str:
    return f"{fixed(float(values[label]), decimals=0)} %"
