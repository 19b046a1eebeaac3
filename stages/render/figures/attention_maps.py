"""Attention maps of single query patches, and how much a map depends on its query."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.line_charts import Inks
from stages.render.figures.style import TEXT, darker, new_figure, styled
from stages.results.analysis_curves import block_curves, first_training
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.paths import analysis_table

ANALYSIS = "attention_maps"
QUERIES = {"centre": "#D55E00", "corner": "#0072B2"}  # query -> colour of its frame
LOWEST = 0.25  # lower end of the colour scale, in multiples of uniform attention
CHANNELS = ["red", "green", "blue"]


class Maps(NamedTuple):
    """One image, and the attention maps of two of its patches for every label."""

    image: np.ndarray  # (h, w, 3), 0..1
    weights: dict[str, dict[tuple[int, str], np.ndarray]]  # label -> (block, query) -> (g, g), sums to 1
    blocks: dict[str, int]  # label -> number of blocks


def similarity_curves(results: Results, *, seed: int = 0) -> pd.DataFrame:
    """Return the cosine between the maps of two queries by block, as `analysis_curves.block_curves` does."""
    rows = {"measure": "similarity"}
    return block_curves(results, analysis=ANALYSIS, measure="value", rows=rows, seed=seed)


def shown_maps(results: Results) -> dict[int, Maps]:
    """Return the shown images with their maps, for the first seed.

    Returns: image -> its pixels and maps
    Raises StudyError if a table cannot be read, or if arms show different images.
    """
    shown: dict[int, Maps] = {}
    for arm in results.arms:
        label = results.label(arm)
        frame = first_training(results, arm, results.analysis(ANALYSIS, arm))
        depth = int(frame.loc[frame["measure"] == "similarity", "block"].max())
        for image, rows in frame[frame["measure"] == "weight"].groupby("image"):
            if image not in shown:
                if shown and arm != results.arms[0]:
                    raise StudyError(
                        f"{analysis_table(ANALYSIS, arm)}: shows image {image}, but other arms do not; "
                        "`dvc repro` measures all arms on the same images"
                    )
                shown[int(image)] = Maps(_picture(frame, image=int(image)), {}, {})
            maps = shown[int(image)]
            maps.blocks[label] = depth
            maps.weights[label] = {
                (int(block), str(query)): square(part)
                for (block, query), part in rows.groupby(["block", "query"])
            }
    return shown


def scale_end(results: Results) -> float:
    """Return the upper end of the colour scale of all maps, in multiples of uniform attention.

    The scale covers every query of every image, in the figures and in the interactive maps.
    """
    ends = [1 / LOWEST]
    for arm in results.arms:
        rows = first_training(results, arm, results.analysis(ANALYSIS, arm))
        rows = rows[rows["measure"] == "map"]
        ends.append(float(rows["value"].max() * rows["row"].max() ** 2))
    return float(f"{max(ends):.3g}")


def maps_figure(maps: Maps, *, inks: Inks, highest: float) -> Figure:
    """Draw the image with its two query patches, then a row per label with both maps in several blocks.

    All maps are multiples of uniform attention on one logarithmic scale. A frame has the colour of its query.

    highest: upper end of the scale, as `scale_end` returns it
    """
    labels = list(maps.weights)
    columns = max(len(weights) for weights in maps.weights.values())
    norm = LogNorm(LOWEST, highest, clip=True)
    with styled():
        figure = new_figure(width=1.4 * columns, height=1.6 + 1.78 * len(labels))
        grid = figure.subplots(1 + len(labels), columns, squeeze=False)
        cells = next(iter(maps.weights[labels[0]].values())).shape[0]
        grid[0, 0].imshow(maps.image, interpolation="nearest", extent=(0, cells, cells, 0))
        _head(grid[0, 0], "image", TEXT)
        for query, (row, column) in _places(cells).items():
            frame = Rectangle((column, row), 1, 1, fill=False, edgecolor=QUERIES[query], linewidth=1.8)
            grid[0, 0].add_patch(frame)
        for axes, label in zip(grid[1:], labels, strict=True):
            weights = maps.weights[label]
            for axis, ((block, query), weight) in zip(axes, weights.items(), strict=False):
                cells = weight.shape[0]
                image = axis.imshow(uniform_multiples(weight), cmap="cividis", norm=norm,
                                    interpolation="nearest", extent=(0, cells, cells, 0))  # fmt: skip
                _head(axis, f"block {block}, {query}", darker(QUERIES[query]))
                for spine in axis.spines.values():
                    spine.set(visible=True, edgecolor=QUERIES[query], linewidth=1.6)
                row, column = _places(cells)[query]
                axis.plot(column + 0.5, row + 0.5, "P", color="white", markersize=5, markeredgecolor="black")
            axes[0].set_title(label, color=darker(inks[label].colour), pad=18)
            for axis in axes[len(weights) :]:
                axis.remove()
        for axis in grid[0, 1:]:
            axis.remove()
        _scale(
            figure,
            figure.add_subplot(grid[0, 0].get_gridspec()[0, 1 : min(4, columns)]),
            image,
            highest=highest,
        )
    return figure


def uniform_multiples(weights: np.ndarray) -> np.ndarray:
    """Return weights with sum 1 as multiples of uniform attention."""
    return weights * weights.size


def square(rows: pd.DataFrame) -> np.ndarray:
    """Return values by row and column."""
    return rows.pivot(index="row", columns="column", values="value").to_numpy(dtype=float)


def weight_rows(maps: Maps) -> pd.DataFrame:
    """Return all drawn weights: label, block, query, row, column, weight; rows and columns count from 1."""
    parts = []
    for label, weights in maps.weights.items():
        for (block, query), weight in weights.items():
            row, column = (1 + axis.ravel() for axis in np.indices(weight.shape))
            place = {"label": label, "block": block, "query": query, "row": row, "column": column}
            parts.append(pd.DataFrame(place | {"weight": weight.ravel()}))
    return pd.concat(parts, ignore_index=True)


def similarity_caption(curves: pd.DataFrame) -> str:
    """Return the caption of the cosine between maps."""
    return (
        "1 − cosine between the attention maps (mean over heads) of the centre patch and the corner patch. "
        f"0: identical maps; 1: maps without common patches. {bands(curves)}"
    )


def maps_caption(*, image: int) -> str:
    """Return the caption of the maps of one image."""
    return (
        f"Attention maps of the centre patch (orange) and the corner patch (blue) of held-out image {image}; "
        "mean over heads, one training of each arm. All maps share one colour scale. A cross marks the query."
    )


def maps_alt(maps: Maps) -> str:
    """Return the alternative text of the maps of one image."""
    drawing = "Attention maps of two query patches in several blocks, a row per arm."
    return alt_text(drawing, maps.weights)


def _places(cells: int) -> dict[str, tuple[int, int]]:
    """Return row and column of each query, as `analyses.attention_maps.query_patches` chooses them."""
    return {"centre": (cells // 2, cells // 2), "corner": (0, 0)}


def _picture(frame: pd.DataFrame, *, image: int) -> np.ndarray:
    parts = [square(frame[(frame["measure"] == name) & (frame["image"] == image)]) for name in CHANNELS]
    return np.stack(parts, axis=-1) / 255


def _head(axis: Axes, text: str, colour: str) -> None:
    _bare(axis)
    axis.annotate(text, (0.5, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points",
                  ha="center", fontsize=8.5, color=colour)  # fmt: skip


def _scale(figure: Figure, axis: Axes, image: AxesImage, *, highest: float) -> None:
    """Draw the colour scale of all maps in its own panel."""
    _bare(axis)
    axis.patch.set_visible(False)
    inside = axis.inset_axes((0.05, 0.35, 0.9, 0.13))
    bar = figure.colorbar(image, cax=inside, orientation="horizontal")
    bar.set_label("attention (× uniform)")
    ticks = [2.0**power for power in range(-2, 12) if LOWEST <= 2.0**power <= highest]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    bar.outline.set_visible(False)


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
