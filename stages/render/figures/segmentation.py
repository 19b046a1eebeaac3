"""mIoU of every arm by method of segmentation."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, alt_text, bands
from stages.render.figures.line_charts import Inks, draw_ticks
from stages.render.figures.style import NARROW, WIDE, darker, new_figure, styled

WAYS = {"linear": "Linear head", "knn": "Nearest patches", "fine-tuned": "Fine-tuned"}


def segmentation_figure(scores: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw mIoU as dots with intervals, one panel per method of segmentation, one row per arm."""
    labels = list(dict.fromkeys(scores["label"]))
    ways = ways_of(scores)
    with styled():
        figure = new_figure(width=WIDE if len(ways) > 1 else NARROW, height=1.0 + 0.34 * len(labels))
        panels = figure.subplots(1, len(ways), squeeze=False, sharex=True)[0]
        for axis, way in zip(panels, ways, strict=True):
            of_way = scores[scores["way"] == way].set_index("label")
            for place, label in enumerate(labels):
                row, ink = of_way.loc[label], inks[label]
                axis.plot([row["low"], row["high"]], [place, place], color=ink.colour, linewidth=2)
                axis.plot(row["mean"], place, ink.marker, color=ink.colour, markersize=6)
                draw_ticks(axis, row, place=place, ink=ink)
            axis.set(title=WAYS[way], xlabel="mIoU (%)", ylim=(len(labels) - 0.5, -0.5))
            axis.set_yticks(range(len(labels)), labels)
            for text, label in zip(axis.get_yticklabels(), labels, strict=True):
                text.set_color(darker(inks[label].colour))
        panels[0].set_xlim(left=0)  # after drawing, because all panels share the scale
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
