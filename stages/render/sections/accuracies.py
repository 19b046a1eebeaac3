"""The accuracies: tables, their protocols, and a figure of all probes."""

import pandas as pd

from stages.render.figures.captions import trainings_of
from stages.render.figures.line_charts import Inks
from stages.render.figures.probes import of_probes, probes_alt, probes_caption, probes_figure
from stages.render.page.figure_card import drawn
from stages.render.page.html_table import table
from stages.render.words import fixed, interval, nowrap
from stages.results.study_results import AUGMENTED, FINE_TUNED
from stages.study.study import Study

MAIN = ("knn", "linear", AUGMENTED, FINE_TUNED)  # evaluations of the table in sight


def all_probes(accuracies: pd.DataFrame, *, inks: Inks, folder: str = "") -> str:
    """Return the figure of all probes and the table of those that are not in MAIN, as HTML.

    accuracies: as `accuracies.accuracies` returns them
    """
    probed = of_probes(accuracies)
    figure = drawn(
        probes_figure(probed, inks=inks),
        name="probes",
        alt=probes_alt(probed),
        caption=probes_caption(probed),
        data=probed,
        folder=folder,
    )
    others = accuracies[~accuracies["evaluation"].isin(MAIN)]
    if others.empty:
        return figure
    return figure + table(accuracy_rows(others), caption="Held-out accuracy (%) of other probes")


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
    if chance:  # appended, because an arm may have this name
        frame = pd.concat([frame, pd.DataFrame([chance], index=["chance"], dtype=object)])
    return frame.rename_axis("arm")


def accuracy_caption(study: Study) -> str:
    """Return the caption of `accuracy_rows`."""
    return f"Held-out accuracy (%): {trainings_of(study)}."


def protocol_rows(protocols: dict[str, str]) -> pd.DataFrame:
    """Return the protocol of every evaluation."""
    return pd.DataFrame({"protocol": protocols}, dtype=object).rename_axis("evaluation")
