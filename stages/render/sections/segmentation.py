"""Segmentation from patch tokens."""

import pandas as pd

from stages.render.figures.line_charts import Inks
from stages.render.figures.segmentation import (
    WAYS,
    segmentation_alt,
    segmentation_caption,
    segmentation_figure,
    ways_of,
)
from stages.render.page.figure_card import show
from stages.render.page.html_table import folded, table
from stages.render.page.notebook_output import put, say
from stages.render.words import interval
from stages.results.accuracies import segmentation_scores
from stages.results.study_results import Results


def segmentation_section(results: Results, *, inks: Inks, folder: str = "") -> None:
    """Show the segmentation results (Fig. 1 right), or the reason why there are none.

    Raises StudyError if a file is missing.
    """
    scores, reason = segmentation_scores(results)
    put("<h3>Segmentation from patch tokens</h3>")
    if scores.empty:
        say(f"Segmentation was not measured: {reason}.")
        return
    show(
        segmentation_figure(scores, inks=inks),
        name="segmentation",
        alt=segmentation_alt(scores),
        caption=segmentation_caption(scores),
        data=scores,
        folder=folder,
    )
    put(folded("Table: mIoU", table(segmentation_rows(scores), caption="mIoU (%)")))


def segmentation_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm and one column per method of segmentation."""
    rows = {
        label: {
            WAYS[way]: interval(row["mean"], row["low"], row["high"], decimals=1)
            for way, row in part.set_index("way").reindex(ways_of(part)).iterrows()
        }
        for label, part in scores.groupby("label", sort=False)
    }
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("arm")
