"""mIoU of every arm by method of segmentation."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, alt_text, bands
from stages.render.figures.dot_charts import dot_figure
from stages.render.figures.line_charts import Inks
from stages.render.figures.style import styled

WAYS = {"linear": "Linear head", "knn": "Nearest patches", "fine-tuned": "Fine-tuned"}


def segmentation_figure(scores: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw mIoU as dots with intervals, one panel per method of segmentation, one row per arm."""
    tables = {WAYS[way]: scores[scores["way"] == way] for way in ways_of(scores)}
    figure = dot_figure(tables, inks=inks, xlabel="mIoU (%)")
    with styled():
        figure.axes[0].set_xlim(left=0)  # of all panels, which share the scale
    return figure


def segmentation_caption(scores: pd.DataFrame) -> str:
    """Return the caption of the segmentation."""
    return (
        "Segmentation of held-out images from patch tokens: mean intersection over union (mIoU) over "
        f"classes; the background is a class. {bands(scores, marks=DOTS)}"
    )


def segmentation_alt(scores: pd.DataFrame) -> str:
    """Return the alternative text of the segmentation."""
    return alt_text(
        "Dots with error bars of mIoU, a panel per method of segmentation, a row per arm.", scores["label"]
    )


def ways_of(scores: pd.DataFrame) -> Sequence[str]:
    """Return the measured methods of segmentation, in the order of WAYS."""
    return [way for way in WAYS if way in set(scores["way"])]
