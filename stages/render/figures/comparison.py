"""Similarity of the blocks of different arms: linear CKA of all pairs in one matrix."""

import math
import textwrap
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text
from stages.render.figures.line_charts import Inks, colour_bar
from stages.render.figures.style import NARROW, darker, new_figure, styled
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.paths import COMPARISON

FEW = 5  # arms whose names fit below their blocks


def blocks_alike(results: Results) -> pd.DataFrame:
    """Return the linear CKA of all blocks of all arms, averaged over the seeds that two arms share.

    Returns: square, rows and columns (label, block); NaN between arms that share no seed
    Raises StudyError if the table is missing or lacks an arm.
    """
    table = results.comparison()
    label = {arm: results.label(arm) for arm in results.arms}
    if lacking := set(label) - set(table["arm"]):
        raise StudyError(f"{COMPARISON}: no arm {', '.join(sorted(lacking))}; `dvc repro compare` writes it")
    table = table[table["arm"].isin(label) & table["other_arm"].isin(label)]
    table = table.assign(label=table["arm"].map(label), other=table["other_arm"].map(label))
    square = table.pivot_table(index=["label", "block"], columns=["other", "other_block"], values="cka")
    order = [(name, block) for name in label.values() for block in sorted(square.loc[name].index)]
    return square.reindex(index=order, columns=order)


def pair_rows(alike: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pair of blocks: label, block, other, other_block, cka."""
    return alike.stack(["other", "other_block"]).rename("cka").reset_index()


def comparison_figure(alike: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw the similarity of all pairs of blocks, arm by arm; darker cells are more similar."""
    labels = list(dict.fromkeys(label for label, _ in alike.index))
    counts = [len(alike.loc[label]) for label in labels]
    ends = np.cumsum([0, *counts])
    with styled():
        crowded = len(labels) > FEW
        room = 1.3 if crowded else 0.0  # inches, for names on one line
        figure = new_figure(width=NARROW + 0.4 + room, height=NARROW + 0.8 + room)
        axis = figure.add_subplot()
        lowest = math.floor(10 * min(0.9, float(np.nanmin(alike.to_numpy())))) / 10
        image = axis.imshow(alike, cmap="cividis_r", vmin=lowest, vmax=1, origin="lower")
        axis.grid(visible=False)
        for end in ends[1:-1]:
            axis.axhline(end - 0.5, color="white", linewidth=2)
            axis.axvline(end - 0.5, color="white", linewidth=2)
        middles = [(start + end - 1) / 2 for start, end in pairwise(ends)]
        names = labels if crowded else [textwrap.fill(label, 12) for label in labels]
        axis.set_xticks(middles, names, rotation=90 if crowded else 0)
        axis.set_yticks(middles, names, rotation=0 if crowded else 90, va="center")
        for ticks in (axis.get_xticklabels(), axis.get_yticklabels()):
            for tick, label in zip(ticks, labels, strict=True):
                tick.set_color(darker(inks[label].colour))
        axis.tick_params(length=0)
        axis.set_xlabel("blocks of each arm, from the embedding to the last")
        colour_bar(figure, image, [axis], name="linear CKA")
    return figure


def comparison_caption() -> str:
    """Return the caption of the matrix."""
    return (
        "Linear centred kernel alignment (Kornblith et al. 2019) of the mean patch tokens of held-out images "
        "for every pair of blocks, mean over the seeds that two arms share. 1: identical up to rotation and "
        "scale. White lines separate the arms."
    )


def comparison_alt(alike: pd.DataFrame) -> str:
    """Return the alternative text of the matrix."""
    labels = [label for label, _ in alike.index]
    return alt_text("Matrix of the linear CKA of all pairs of blocks, arm by arm.", labels)
