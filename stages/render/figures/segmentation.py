"""mIoU of every arm by the way it segments."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, bands
from stages.render.figures.line_charts import Inks, draw_ticks
from stages.render.figures.style import darker, new_figure, styled
from stages.render.words import interval

WAYS = {"linear": "Linear head", "knn": "Nearest patches", "fine-tuned": "Fine-tuned"}


def segmentation_figure(scores: pd.DataFrame, *, inks: Inks) -> Figure:
    """mIoU as dots with their intervals, a panel per way, a row per arm."""
    labels = list(dict.fromkeys(scores["label"]))
    ways = ways_of(scores)
    with styled():
        figure = new_figure(height=1.0 + 0.34 * len(labels))
        panels = figure.subplots(1, len(ways), squeeze=False, sharey=True)[0]
        for axis, way in zip(panels, ways, strict=True):
            of_way = scores[scores["way"] == way].set_index("label")
            for place, label in enumerate(labels):
                row, ink = of_way.loc[label], inks[label]
                axis.plot([row["low"], row["high"]], [place, place], color=ink.colour, linewidth=2)
                axis.plot(row["mean"], place, ink.marker, color=ink.colour, markersize=6)
                draw_ticks(axis, row, place=place, ink=ink)
            axis.set(title=WAYS[way], xlabel="mIoU (%)", ylim=(len(labels) - 0.5, -0.5))
            axis.set_xlim(left=0)
        panels[0].set_yticks(range(len(labels)), labels)
        for text, label in zip(panels[0].get_yticklabels(), labels, strict=True):
            text.set_color(darker(inks[label].colour))
    return figure


def segmentation_caption(scores: pd.DataFrame, *, protocol: str) -> str:
    """Caption: what is drawn, and the order of the arms in each way."""
    said = [f"{WAYS[way]}, from highest to lowest: {_ranked(scores, way)}." for way in ways_of(scores)]
    return (
        "Segmentation of held-out images into no object and the classes: intersection over union of each "
        f"class over all images, mean over the classes. {bands(scores, marks=DOTS)} {' '.join(said)} "
        f"Protocol: {protocol}. Paper: Fig. 1 right, which cites "
        "object detection of fine-tuned encoders (COCO box AP: MoCo v3 47.9, MAE 50.3)."
    )


def segmentation_alt(scores: pd.DataFrame) -> str:
    """Alternative text: the order of the arms in each way."""
    said = [f"{WAYS[way]}, from highest to lowest mIoU: {_ranked(scores, way)}." for way in ways_of(scores)]
    return " ".join([*said, "Dots with error bars, a panel per way and a row per arm."])


def ways_of(scores: pd.DataFrame) -> Sequence[str]:
    """The ways that were measured, in the order of WAYS."""
    return [way for way in WAYS if way in set(scores["way"])]


def _ranked(scores: pd.DataFrame, way: str) -> str:
    of_way = scores[scores["way"] == way].set_index("label")
    ranked = of_way.sort_values("mean", ascending=False, kind="stable")
    return "; ".join(
        f"{label} {interval(row['mean'], row['low'], row['high'], unit='%', decimals=1)}"
        for label, row in ranked.iterrows()
    )
