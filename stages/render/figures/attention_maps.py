"""Where single patches look: the image, its maps, and how much they depend on the query."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stages.render.figures.captions import bands, in_order
from stages.render.figures.line_charts import Inks
from stages.render.figures.style import darker, new_figure, styled
from stages.render.words import fixed, listed, number
from stages.results.analysis_curves import block_curves, first_training, last_block
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.paths import analysis_table

ANALYSIS = "attention_maps"
QUERIES = {"centre": "#D55E00", "corner": "#0072B2"}  # the colour of the frame around each
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

    Every map has its own scale, dark for no weight; the frames have the colour of their query.
    """
    labels = list(maps.weights)
    columns = max(len(weights) for weights in maps.weights.values())
    with styled():
        figure = new_figure(height=0.35 + 1.28 * len(labels))
        grid = figure.subplots(len(labels), 1 + columns, squeeze=False)
        for place, (axes, label) in enumerate(zip(grid, labels, strict=True)):
            weights = maps.weights[label]
            cells = next(iter(weights.values())).shape[0]
            _bare(axes[0])
            axes[0].imshow(maps.image, interpolation="nearest", extent=(0, cells, cells, 0))
            for query, (row, column) in _places(cells).items():
                axes[0].add_patch(
                    Rectangle((column, row), 1, 1, fill=False, edgecolor=QUERIES[query], linewidth=1.8)
                )
            colour = inks[label].colour
            axes[0].set_ylabel(
                "\n".join(label.split(" (")).rstrip(")"), color=darker(colour), fontweight="bold"
            )
            for axis, ((block, query), weight) in zip(axes[1:], weights.items(), strict=False):
                axis.imshow(
                    weight, cmap="cividis", vmin=0, interpolation="nearest", extent=(0, cells, cells, 0)
                )
                _bare(axis)
                for spine in axis.spines.values():
                    spine.set(visible=True, edgecolor=QUERIES[query], linewidth=1.6)
                row, column = _places(cells)[query]
                axis.plot(column + 0.5, row + 0.5, "P", color="white", markersize=5, markeredgecolor="black")
                title = f"block {block}, {query}" if place == 0 else ""
                axis.set_title(title, fontsize=8.5, fontweight="normal", color=darker(QUERIES[query]))
            for axis in axes[1 + len(weights) :]:
                axis.remove()
    return figure


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
    """Caption of the cosine between maps: what it says, and the last block's values in order."""
    return (
        "Cosine between the attention maps (mean over heads) of two query patches, the centre and the corner "
        "of the image. 1: both look at the same places, whatever they are; 0: at places that have nothing in "
        f"common. {bands(curves)} Last block, from highest to lowest: {in_order(last_block(curves))}."
    )


def maps_caption(maps: Maps, *, image: int) -> str:
    """Caption of the maps of one image: what is drawn, and how alike both maps of its last block are."""
    said = sorted(_likeness(maps).items(), key=lambda item: -item[1])
    ranked = "; ".join(f"{label} {fixed(cosine, decimals=2)}" for label, cosine in said)
    return (
        f"Held-out image {image}: where its centre patch (orange) and its corner patch (blue) look, mean "
        "over heads, in the first training of each arm. Bright: the largest weight of that map; a cross "
        "marks "
        "the query. Cosine between both "
        f"maps of the deepest block shown, from highest to lowest: {ranked}."
    )


def maps_alt(maps: Maps) -> str:
    """Alternative text of the maps of one image: how concentrated every map is."""
    said = ["Small maps of attention weights, a row per arm, two query patches in each block shown."]
    for label, weights in maps.weights.items():
        told = listed(
            f"{number(weight.max() * weight.size, digits=2)} in block {block} from the {query}"
            for (block, query), weight in weights.items()
        )
        said.append(f"{label}, largest weight as a multiple of even attention: {told}.")
    return " ".join(said)


def _likeness(maps: Maps) -> dict[str, float]:
    found = {}
    for label, weights in maps.weights.items():
        deepest = max(block for block, _ in weights)
        first, second = (weights[deepest, query].ravel() for query in QUERIES)
        found[label] = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
    return found


def _places(cells: int) -> dict[str, tuple[int, int]]:
    """Row and column of each query, as `analyses.attention_maps.query_patches` chooses them."""
    return {"centre": (cells // 2, cells // 2), "corner": (0, 0)}


def _picture(frame: pd.DataFrame, *, image: int) -> np.ndarray:
    parts = [square(frame[(frame["measure"] == name) & (frame["image"] == image)]) for name in CHANNELS]
    return np.stack(parts, axis=-1) / 255


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
