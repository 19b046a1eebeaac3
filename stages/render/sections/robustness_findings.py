"""Put the results on corrupted images into sentences: the most harmful bands and corruptions."""

from collections.abc import Collection

import pandas as pd

from stages.render.figures.robustness import panel_name, trial_name
from stages.render.words import interval, listed, signed
from stages.results.corrupted import CLEAN


def noise_findings(curves: pd.DataFrame) -> str:
    """Return for each head and label set in which band frequency noise costs each arm the most accuracy.

    curves: as `corrupted.noise_curves` returns them
    """
    sentences = []
    for (head, labels), part in curves.groupby(["head", "labels"], sort=False):
        worst = part.loc[part.groupby("label", sort=False)["mean"].idxmin()]
        bands = listed(
            f"{row['label']} {row['frequency']:.2g} π ({interval(row['mean'], row['low'], row['high'])} %)"
            for row in worst.to_dict("records")
        )
        sentences.append(f"{panel_name(head, labels)}: {bands}.")
    start = "Most harmful band of noise by arm, with the share of the clean accuracy that is kept."
    return f"{start} {' '.join(sentences)}" if sentences else ""


def trial_findings(accuracy: pd.DataFrame, *, stimuli: Collection[str] = ()) -> str:
    """Return for each head and label set which corruption costs the most accuracy, averaged over arms.

    accuracy: as `corrupted.accuracy_by_trial` returns it
    stimuli:  trials of other images, which cannot be compared with the clean ones
    """
    accuracy = accuracy[~accuracy["trial"].isin(stimuli)]
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
