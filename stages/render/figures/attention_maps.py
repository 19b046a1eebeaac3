"""Where single patches look: the image, its maps, and how much they depend on the query."""

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
QUERIES = {"centre": "#D55E00", "corner": "#0072B2"}  # the colour of the frame around each
LOWEST = 0.25  # of the colour scale, as a multiple of uniform attention
CHANNELS = ["red", "green", "blue"]


class Maps(NamedTuple):
    """One image and where two of its patches look, for every label."""

    image: np.ndarray  # (h, w, 3), 0..1
    weights: dict[str, dict[tuple[int, str], np.ndarray]]  # label -> (block, query) -> (g, g), sums to 1
    blocks: dict[str, int]  # label -> number of blocks


def similarity_curves(results: Results, *, seed: int = 0) -> pd.DataFrame:
    """Cosine between the maps of two queries against depth, as `analysis_curves.block_curves` gives it."""
    rows = {"measure": "similarity"}
    return block_curves(results, analysis=ANALYSIS, measure="value", rows=rows, seed=seed)


def shown_maps(results: Results) -> dict[int, Maps]:
    """The images that are shown with their maps, of the first seed.

    returns: image -> its pixels and maps
    Raises StudyError if a table cannot be read, or if arms do not show the same images.
    """
    found: dict[int, Maps] = {}
    for arm in results.arms:
        label = results.label(arm)
        frame = first_training(results, arm, results.analysis(ANALYSIS, arm))
        depth = int(frame.loc[frame["measure"] == "similarity", "block"].max())
        for image, rows in frame[frame["measure"] == "weight"].groupby("image"):
            if image not in found:
                if found and arm != results.arms[0]:
                    raise StudyError(
                        f"{analysis_table(ANALYSIS, arm)}: shows image {image}, which other arms do "
                        f"not; `dvc repro` measures all arms on the same images"
                    )
                found[int(image)] = Maps(_picture(frame, image=int(image)), {}, {})
            maps = found[int(image)]
            maps.blocks[label] = depth
            maps.weights[label] = {
                (int(block), str(query)): square(part)
                for (block, query), part in rows.groupby(["block", "query"])
            }
    return found


def maps_figure(maps: Maps, *, inks: Inks) -> Figure:
    """The image with its two query patches, then a row per label: both maps in each of some blocks.

    All maps are multiples of uniform attention on one logarithmic scale; the frames have the colour of their
    query.
    """
    labels = list(maps.weights)
    columns = max(len(weights) for weights in maps.weights.values())
    highest = max(uniform_multiples(weight).max() for of_arm in maps.weights.values()
                  for weight in of_arm.values())  # fmt: skip
    highest = max(float(highest), 1 / LOWEST)
    norm = LogNorm(LOWEST, highest, clip=True)
    with styled():
        figure = new_figure(width=1.4 * columns, height=1.8 + 1.9 * len(labels))
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
    """Return weights that sum to 1 as multiples of attention that is spread evenly."""
    return weights * weights.size


def square(rows: pd.DataFrame) -> np.ndarray:
    """Values by row and column."""
    return rows.pivot(index="row", columns="column", values="value").to_numpy(dtype=float)


def weight_rows(maps: Maps) -> pd.DataFrame:
    """All weights that are drawn: label, block, query, row, column, weight; rows and columns from 1."""
    parts = []
    for label, weights in maps.weights.items():
        for (block, query), weight in weights.items():
            row, column = (1 + axis.ravel() for axis in np.indices(weight.shape))
            place = {"label": label, "block": block, "query": query, "row": row, "column": column}
            parts.append(pd.DataFrame(place | {"weight": weight.ravel()}))
    return pd.concat(parts, ignore_index=True)


def similarity_caption(curves: pd.DataFrame) -> str:
    """Caption of the cosine between maps."""
    return (
        "1 − cosine between the attention maps (mean over heads) of two query patches, the centre and the "
        f"corner. 0: both look at the same places; 1: at places that have nothing in common. {bands(curves)}"
    )


def maps_caption(*, image: int) -> str:
    """Caption of the maps of one image."""
    return (
        f"Held-out image {image}: where its centre patch (orange) and its corner patch (blue) attend, mean "
        "over heads, one training of each arm. All maps share the colour scale; a cross marks the query."
    )


def maps_alt(maps: Maps) -> str:
    """Alternative text of the maps of one image."""
    drawing = "Small maps of attention weights, a row per arm, two query patches in each block shown."
    return alt_text(drawing, maps.weights)


def _places(cells: int) -> dict[str, tuple[int, int]]:
    """Row and column of each query, as `analyses.attention_maps.query_patches` chooses them."""
    return {"centre": (cells // 2, cells // 2), "corner": (0, 0)}


def _picture(frame: pd.DataFrame, *, image: int) -> np.ndarray:
    parts = [square(frame[(frame["measure"] == name) & (frame["image"] == image)]) for name in CHANNELS]
    return np.stack(parts, axis=-1) / 255


def _head(axis: Axes, text: str, colour: str) -> None:
    _bare(axis)
    axis.annotate(text, (0.5, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points",
                  ha="center", fontsize=8.5, color=colour)  # fmt: skip


def _scale(figure: Figure, axis: Axes, image: AxesImage, *, highest: float) -> None:
    """Draw the colour scale of all maps into a panel of its own."""
    _bare(axis)
    axis.patch.set_visible(False)
    inside = axis.inset_axes((0.05, 0.35, 0.9, 0.13))
    bar = figure.colorbar(image, cax=inside, orientation="horizontal")
    bar.set_label("attention, multiples of uniform")
    ticks = [2.0**power for power in range(-2, 12) if LOWEST <= 2.0**power <= highest]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    bar.outline.set_visible(False)


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
