"""The accuracy of every probe of every arm."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, alt_text, bands
from stages.render.figures.dot_charts import grouped_figure, per_cent
from stages.render.figures.line_charts import Inks
from stages.render.figures.style import PAPER, styled
from stages.results.study_results import FINE_TUNED

NAMES = {"knn": "nearest neighbours", "layerwise": "linear, best block"}


def of_probes(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of the probes, without fine-tuning.

    accuracies: as `accuracies.accuracies` returns them
    """
    return accuracies[accuracies["evaluation"] != FINE_TUNED].reset_index(drop=True)


def probes_figure(probed: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw the accuracy of every probe, one panel per label set, one group per probe; dotted: chance.

    probed: as `of_probes` returns them
    """
    sets = {
        "All classes" if labels == "class" else str(labels).capitalize(): rows
        for labels, rows in probed.groupby("labels", sort=False)
    }
    tables = {
        title: per_cent(rows).assign(group=[NAMES.get(name, name) for name in rows["evaluation"]])
        for title, rows in sets.items()
    }
    figure = grouped_figure(tables, inks=inks, xlabel="accuracy (%)")
    with styled():
        for axis, rows in zip(figure.axes, sets.values(), strict=True):
            for chance in rows["chance"].dropna().unique():
                axis.axvline(100 * chance, color=PAPER, linewidth=1, linestyle=(0, (1, 2)))
    return figure


def probes_caption(probed: pd.DataFrame) -> str:
    """Return the caption of `probes_figure`."""
    return (
        "Held-out accuracy of every probe of the frozen encoders; dotted line: chance. "
        f"{bands(probed, marks=DOTS)}"
    )


def probes_alt(probed: pd.DataFrame) -> str:
    """Return the alternative text of `probes_figure`."""
    return alt_text("Dots with error bars of accuracy, a group of rows per probe.", probed["label"])
