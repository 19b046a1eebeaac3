"""Similarity of representations: curves against depth, raw beside centred, and blocks against blocks."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import bands, found_last, in_order
from stages.render.figures.dark import DARK_INK, LIGHT_INK
from stages.render.figures.line_charts import DEPTH, Inks, draw_curves, label_line_ends, panels, title_of
from stages.render.figures.name_placing import settle
from stages.render.figures.style import new_figure, styled
from stages.render.words import fixed
from stages.results.analysis_curves import block_curve, join, last_block
from stages.results.study_results import Results
from stages.study.paths import analysis_table

VARIANTS = ("raw", "centred")


def similarity_curves(results: Results, *, measure: str, variant: str, seed: int = 0) -> pd.DataFrame:
    """Similarity of the heads, of the positions, or of each block to the one before, per block and arm.

    measure: heads, positions or blocks; variant: raw or centred
    returns: as `analysis_curves.block_curves`, without the arms that have no such pairs: encoders of one head
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
    """The rows of one measure of one arm; none if the encoder has no such pairs."""
    rows = results.analysis("similarity", arm)
    return rows[(rows["measure"] == measure) & (rows["variant"] == variant)]


def block_matrices(results: Results, *, measure: str, variant: str) -> dict[str, pd.DataFrame]:
    """Similarity of every block to every other, mean over images and seeds.

    measure: blocks or cka; variant: raw or centred
    returns: label -> blocks × blocks, symmetric, 1 on the diagonal
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


def paired_figure(curves: Mapping[str, pd.DataFrame], *, inks: Inks, ylabel: str) -> Figure:
    """A similarity against relative depth, one panel a variant on one scale, one line per label.

    curves: heading -> as `similarity_curves` gives them
    """
    tallest = max(variant["label"].nunique() for variant in curves.values())
    with styled():
        figure = new_figure(height=max(3.6, 1.0 + 0.2 * tallest))
        axes = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
        for axis, (heading, variant) in zip(axes, curves.items(), strict=True):
            draw_curves(axis, variant, inks=inks, x="depth")
            axis.set(title=heading, xlabel=DEPTH, xlim=(-0.02, 1.02))
            axis.tick_params(labelleft=True)
        axes[0].set_ylabel(ylabel)
        settle(figure)
        for axis, variant in zip(axes, curves.values(), strict=True):
            label_line_ends(axis, variant, inks=inks, x="depth")
    return figure


def matrix_figure(matrices: Mapping[str, pd.DataFrame], *, inks: Inks, name: str) -> Figure:
    """A panel per label: every block against every other, dark where they are alike.

    matrices: as `block_matrices` gives them; name: of the similarity, beside the colour bar
    The map (cividis) is read alike with any colour vision and falls evenly in a grey print; up to nine
    blocks every cell has its number too.
    """
    lowest = min(0.99, *(float(matrix.to_numpy().min()) for matrix in matrices.values()))
    with styled():
        figure, axes = panels(len(matrices), height=2.35)
        for axis, (label, matrix) in zip(axes, matrices.items(), strict=True):
            image = axis.imshow(matrix, cmap="cividis_r", vmin=lowest, vmax=1, origin="lower")
            title_of(axis, label, inks[label])
            axis.grid(visible=False)
            ticks = range(0, len(matrix), 1 if len(matrix) <= 9 else 2)
            axis.set(xticks=ticks, yticks=ticks, xlabel="block")
            spec = axis.get_subplotspec()
            if spec is not None and spec.is_first_col():
                axis.set_ylabel("block")
            if len(matrix) <= 9:
                for (row, column), value in np.ndenumerate(matrix.to_numpy()):
                    dark = value > (lowest + 1) / 2
                    axis.text(column, row, _short(value), ha="center", va="center", fontsize=6,
                              color=LIGHT_INK if dark else DARK_INK)  # fmt: skip
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        bar.set_label(name)
        bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def paired_rows(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All curves of a paired figure in one table, with the column variant in front."""
    parts = [curve.assign(variant=heading.lower()) for heading, curve in curves.items()]
    rows = pd.concat(parts, ignore_index=True)
    return rows[["variant", *rows.columns.drop("variant")]]


def matrix_rows(matrices: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All cells of a matrix figure in one table: label, block, other_block, value."""
    parts = [
        matrix.rename_axis(index="block", columns="other_block").stack().rename("value").reset_index()
        for matrix in matrices.values()
    ]
    return pd.concat(parts, keys=list(matrices), names=["label", None]).reset_index(level="label")


def paired_caption(curves: Mapping[str, pd.DataFrame], *, measure: str, centring: str) -> str:
    """Caption of a paired figure: what is drawn, what centring is, and the last block's values in order.

    curves: heading -> as `similarity_curves` gives them
    """
    said = [f"{measure} Left: as they are. Right: {centring} {bands(next(iter(curves.values())))}"]
    for heading, variant in curves.items():
        said.append(
            f"Last block, {heading.lower()}, from highest to lowest: {in_order(last_block(variant))}."
        )
    return " ".join(said)


def paired_alt(curves: Mapping[str, pd.DataFrame], *, measure: str) -> str:
    """Alternative text of a paired figure: who ends highest and lowest, then the ends of each line."""
    said = [
        f"{heading}: {found_last(variant, measure=measure).replace('In', 'in', 1)}"
        for heading, variant in curves.items()
    ]
    said.append(f"Two line charts of {measure} against depth, one line per arm.")
    for heading, variant in curves.items():
        for label, curve in variant.groupby("label", sort=False):
            first, last = curve.iloc[0], curve.iloc[-1]
            said.append(
                f"{heading}, {label}: {fixed(first['mean'], decimals=2)} at block {first['block']}, "
                f"{fixed(last['mean'], decimals=2)} at block {last['block']}."
            )
    return " ".join(said)


def matrix_caption(matrices: Mapping[str, pd.DataFrame], *, measure: str) -> str:
    """Caption of a matrix figure: what is drawn, and how alike the first and the last block are."""
    ends = sorted(matrices, key=lambda label: -_first_to_last(matrices[label]))
    said = [f"{label} {fixed(_first_to_last(matrices[label]), decimals=2)}" for label in ends]
    return (
        f"{measure} Mean over trainings. Block 0 is the embedding; 1 is alike, and the darker the more "
        "alike. "
        f"First block against last, from highest to lowest: {'; '.join(said)}."
    )


def matrix_alt(matrices: Mapping[str, pd.DataFrame], *, measure: str) -> str:
    """Alternative text of a matrix figure: first against last block of each, and least alike neighbours."""
    ends = {label: _first_to_last(matrix) for label, matrix in matrices.items()}
    most, least = (choose(ends, key=lambda label: ends[label]) for choose in (max, min))
    told = [f"{label} ({fixed(ends[label], decimals=2)})" for label in dict.fromkeys((most, least))]
    said = [
        f"The first and last block are most alike in {' and least in '.join(told)}.",
        f"A square of coloured cells per arm: {measure} of every block with every other.",
    ]
    for label, matrix in matrices.items():
        square = matrix.to_numpy()
        neighbours = np.diagonal(square, offset=1)
        place = int(neighbours.argmin())
        said.append(
            f"{label}: first block against last {fixed(_first_to_last(matrix), decimals=2)}; least alike "
            f"neighbours are blocks {place} and {place + 1} with {fixed(neighbours[place], decimals=2)}."
        )
    return " ".join(said)


def _first_to_last(matrix: pd.DataFrame) -> float:
    """Similarity of the first block to the last one; the embedding stands for it where there is one block."""
    return float(matrix.iloc[-1, min(1, len(matrix) - 2)])


def _short(value: float) -> str:
    """Two decimals without the zero in front of them, so that they fit a cell; 1 for what is itself."""
    return "1" if value == 1 else fixed(value, decimals=2).replace("0.", ".", 1)
