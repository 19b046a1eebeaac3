"""Similarity of representations: raw and centred curves against depth, and matrices of blocks."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.line_charts import (
    DEPTH,
    Inks,
    colour_bar,
    draw_curves,
    label_line_ends,
    panels,
    title_of,
)
from stages.render.figures.name_placing import lines_of, settle
from stages.render.figures.style import new_figure, styled
from stages.results.analysis_curves import block_curve, join
from stages.results.study_results import Results
from stages.study.paths import analysis_table

VARIANTS = ("raw", "centred")


def similarity_curves(results: Results, *, measure: str, variant: str, seed: int = 0) -> pd.DataFrame:
    """Return the similarity of heads, of positions, or of each block and the preceding one, by block and arm.

    measure: heads, positions or blocks; variant: raw or centred
    Returns: as `analysis_curves.block_curves`, without arms that have no such pairs: encoders with one head
    Raises StudyError if a table cannot be read, or if seeds differ in blocks or images.
    """
    curves = []
    for arm in results.arms:
        rows = similarity_rows(results, arm, measure=measure, variant=variant)
        if measure == "blocks":
            rows = rows[rows["other_block"] == rows["block"] - 1]
        if len(rows):
            where = str(analysis_table("similarity", arm))
            curves.append(block_curve(results, arm, rows, measure="value", where=where, seed=seed))
    return join(curves, empty=["label", "block", "depth", "mean", "low", "high", "trainings", "images"])


def similarity_rows(results: Results, arm: str, *, measure: str, variant: str) -> pd.DataFrame:
    """Return the rows of one measure of one arm; none if the encoder has no such pairs."""
    rows = results.analysis("similarity", arm)
    return rows[(rows["measure"] == measure) & (rows["variant"] == variant)]


def block_matrices(results: Results, *, measure: str, variant: str) -> dict[str, pd.DataFrame]:
    """Return the similarity of every pair of blocks, averaged over images and seeds.

    measure: blocks or cka; variant: raw or centred
    Returns: label -> blocks × blocks, symmetric, 1 on the diagonal
    Raises StudyError if a table cannot be read.
    """
    matrices = {}
    for arm in results.arms:
        rows = similarity_rows(results, arm, measure=measure, variant=variant)
        lower = rows.groupby(["block", "other_block"])["value"].mean()
        blocks = range(int(rows["block"].max()) + 1)
        square = lower.unstack("other_block").reindex(index=blocks, columns=blocks).to_numpy()
        square = np.where(np.isnan(square), square.T, square)
        np.fill_diagonal(square, 1)
        matrices[results.label(arm)] = pd.DataFrame(square)
    return matrices


def paired_figure(
    curves: Mapping[str, pd.DataFrame], *, inks: Inks, ylabel: str, log: bool = False
) -> Figure:
    """Draw a similarity against relative depth, one panel per variant on one scale, one line per label.

    curves: heading -> as `similarity_curves` returns them; log: whether the scale is logarithmic
    """
    tallest = max(lines_of(variant["label"]) for variant in curves.values())
    with styled():
        figure = new_figure(height=max(3.6, 1.0 + 0.2 * tallest))
        axes = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
        for axis, (heading, variant) in zip(axes, curves.items(), strict=True):
            draw_curves(axis, variant, inks=inks, x="depth", log=log)
            axis.set(title=heading, xlabel=DEPTH, xlim=(-0.02, 1.03), ylabel=ylabel)
            axis.tick_params(labelleft=True)
        settle(figure)
        for axis, variant in zip(axes, curves.values(), strict=True):
            label_line_ends(axis, variant, inks=inks, x="depth")
    return figure


def matrix_figure(matrices: Mapping[str, pd.DataFrame], *, inks: Inks, name: str) -> Figure:
    """Draw the similarity of every pair of blocks, one panel per label on one scale; darker is more similar.

    matrices: as `block_matrices` returns them; name: of the similarity, for the colour bar
    The colour map (cividis) suits any colour vision and grey print.
    """
    lowest = min(0.9, *(float(matrix.to_numpy().min()) for matrix in matrices.values()))
    with styled():
        figure, axes = panels(len(matrices), height=2.3)
        for axis, (label, matrix) in zip(axes, matrices.items(), strict=True):
            image = axis.imshow(matrix, cmap="cividis_r", vmin=math.floor(10 * lowest) / 10, vmax=1,
                                origin="lower")  # fmt: skip
            title_of(axis, label, inks[label])
            axis.grid(visible=False)
            ticks = range(0, len(matrix), 1 if len(matrix) <= 9 else 2)
            axis.set(xticks=ticks, yticks=ticks, xlabel="block")
            axis.set_ylabel("block")
        colour_bar(figure, image, axes, name=name)
    return figure


def paired_rows(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return all curves of a paired figure in one table whose first column is the variant."""
    parts = [curve.assign(variant=heading.lower()) for heading, curve in curves.items()]
    rows = pd.concat(parts, ignore_index=True)
    return rows[["variant", *rows.columns.drop("variant")]]


def matrix_rows(matrices: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return all cells of a matrix figure in one table: label, block, other_block, value."""
    parts = [
        matrix.rename_axis(index="block", columns="other_block").stack().rename("value").reset_index()
        for matrix in matrices.values()
    ]
    return pd.concat(parts, keys=list(matrices), names=["label", None]).reset_index(level="label")


def paired_caption(curves: Mapping[str, pd.DataFrame], *, measure: str, centring: str) -> str:
    """Return the caption of a paired figure: the measure, the centring, the uncertainty.

    curves: heading -> as `similarity_curves` returns them
    """
    return f"{measure} Left: raw. Right: {centring} {bands(next(iter(curves.values())))}"


def paired_alt(curves: Mapping[str, pd.DataFrame], *, measure: str) -> str:
    """Return the alternative text of a paired figure."""
    labels = next(iter(curves.values()))["label"]
    return alt_text(f"Line charts of {measure} against depth, raw and centred, one line per arm.", labels)


def matrix_caption(matrices: Mapping[str, pd.DataFrame], *, measure: str) -> str:
    """Return the caption of a matrix figure."""
    return f"{measure} Mean over trainings. Block 0 is the embedding; darker cells are more similar."


def matrix_alt(matrices: Mapping[str, pd.DataFrame], *, measure: str) -> str:
    """Return the alternative text of a matrix figure."""
    return alt_text(f"One matrix per arm: {measure} of every pair of blocks.", matrices)
