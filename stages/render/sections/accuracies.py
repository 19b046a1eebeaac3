"""Tables of the accuracies and of their protocols."""

import pandas as pd

from stages.render.figures.captions import trainings_of
from stages.render.words import fixed, interval, nowrap
from stages.results.study_results import FINE_TUNED
from stages.study.study import Study


def accuracy_rows(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Return label × (evaluation, label set): accuracy (%) with its interval; the last row is chance."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    chance: dict[tuple[str, str], str] = {}
    for _, row in accuracies.iterrows():
        place = (f"{row['evaluation']} (%)", row["labels"])
        percent = [100 * row[key] for key in ("mean", "low", "high")]
        cells.setdefault(place, {})[row["label"]] = nowrap(interval(*percent, decimals=1))
        if row["chance"] is not None and not pd.isna(row["chance"]):
            chance[place] = fixed(100 * row["chance"], decimals=1)
    # Fine-tuning comes last, even if the first arm lacks a probe.
    evaluations = sorted(
        dict.fromkeys(evaluation for evaluation, _ in cells), key=lambda name: name == f"{FINE_TUNED} (%)"
    )
    cells = {place: cells[place] for place in sorted(cells, key=lambda place: evaluations.index(place[0]))}
    frame = pd.DataFrame(cells, dtype=object).reindex(list(dict.fromkeys(accuracies["label"])))
    if chance:
        frame.loc["chance"] = pd.Series(chance)
    return frame.rename_axis("arm")


def accuracy_caption(study: Study) -> str:
    """Return the caption of `accuracy_rows`."""
    return f"Held-out accuracy (%): {trainings_of(study)}."


def protocol_rows(protocols: dict[str, str]) -> pd.DataFrame:
    """Return the protocol of every evaluation."""
    return pd.DataFrame({"protocol": protocols}, dtype=object).rename_axis("evaluation")
