"""Do tokens cluster by image or by class: t-SNE of a few images, and silhouettes of all images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, alt_text, bands
from stages.render.figures.dot_charts import dot_figure
from stages.render.figures.line_charts import Inks, title_of
from stages.render.figures.style import COLOURS, MARKERS, WIDE, darker, new_figure, styled
from stages.results.analysis_curves import block_curves, first_training
from stages.results.study_results import Results

ANALYSIS = "token_embedding"
ACROSS = 4  # arms in a row of planes
APART = 0.11  # distance of the numbers of two images, as a share of the plane
GROUPS = {"image": "by image", "class": "by class"}


def silhouettes(results: Results, *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Return the silhouettes of the tokens of the last block, by image and by class.

    Returns: image or class, if the data have at least two -> one row per arm, with the columns of
             `analysis_curves.block_curves`
    Raises StudyError if a table cannot be read, as all functions here.
    """
    measured = set(results.analysis(ANALYSIS, results.arms[0])["measure"])
    return {
        group: block_curves(
            results, analysis=ANALYSIS, measure="value", rows={"measure": f"silhouette_{group}"}, seed=seed
        )
        for group in GROUPS
        if f"silhouette_{group}" in measured
    }


def planes(results: Results) -> dict[str, pd.DataFrame]:
    """Return the tokens of the drawn images in a t-SNE plane, for the first seed.

    Returns: label -> image, class, index (of the patch), x, y
    """
    places_by_label = {}
    for arm in results.arms:
        frame = first_training(results, arm, results.analysis(ANALYSIS, arm))
        places = frame[frame["measure"].isin(["x", "y"])]
        wide = places.pivot(index=["image", "class", "index"], columns="measure", values="value")
        places_by_label[results.label(arm)] = wide.reset_index()
    return places_by_label


def planes_figure(planes: Mapping[str, pd.DataFrame], *, inks: Inks) -> Figure:
    """Draw two panels per label, below each other: its tokens in the plane, by image and by class.

    planes: as `planes` returns them
    A number marks each image, near the median of its tokens. Every class has its own marker.
    """
    with styled():
        columns = min(ACROSS, len(planes))
        rows_of_arms = -(-len(planes) // columns)
        figure = new_figure(width=WIDE, height=4.8 * rows_of_arms)
        grid = figure.subplots(2 * rows_of_arms, columns, squeeze=False)
        for spare in range(len(planes), columns * rows_of_arms):
            for axis in grid[-2:, spare % columns]:
                axis.remove()
        for place, (label, tokens) in enumerate(planes.items()):
            row, column = divmod(place, columns)
            above, below = grid[2 * row : 2 * row + 2, column]
            for axis, words in ((above, "image"), (below, "class")):
                _bare(axis)
                title_of(axis, label, inks[label], below=f"{GROUPS[words]}, one training")
            numbers = {image: i for i, image in enumerate(tokens["image"].unique())}
            colours = colormaps["turbo"](np.linspace(0.03, 0.97, max(2, len(numbers))))
            shades = [darker(to_hex(colour), 0.35) for colour in colours]  # for contrast with white
            for image, rows in tokens.groupby("image"):
                above.plot(rows["x"], rows["y"], "o", color=shades[numbers[image]], markersize=2.2,
                           markeredgewidth=0)  # fmt: skip
            for image, (x, y) in number_places(tokens).items():
                above.text(x, y, str(numbers[image] + 1), fontsize=8.5, fontweight="bold", ha="center",
                           va="center", bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white",
                                              "alpha": 0.8, "linewidth": 0})  # fmt: skip
            for number, (_, rows) in enumerate(tokens.groupby("class")):
                marker, colour = MARKERS[number % len(MARKERS)], COLOURS[number % len(COLOURS)]
                below.plot(rows["x"], rows["y"], marker, markersize=2.6, color=colour, linestyle="none",
                           markeredgewidth=0)  # fmt: skip
    return figure


def number_places(tokens: pd.DataFrame) -> dict[Any, tuple[float, float]]:
    """Return a place among the tokens of each image for its number, apart from the other numbers.

    The place is the token nearest to the median of the image that keeps the distance APART to all numbers
    before it, or else the token farthest from them.

    tokens: one table of `planes`
    """
    places: dict[Any, tuple[float, float]] = {}
    width = np.ptp(tokens[["x", "y"]].to_numpy(), axis=0)
    width[width == 0] = 1.0  # of equal tokens
    for image, rows in tokens.groupby("image"):
        points = rows[["x", "y"]].to_numpy()
        central = np.hypot(*((points - np.median(points, axis=0)) / width).T)
        taken = np.array(list(places.values())).reshape(-1, 2)
        gaps = np.hypot(*np.moveaxis((points[:, None] - taken[None]) / width, -1, 0)).min(axis=1, initial=1.0)
        free = gaps >= APART
        best = np.where(free, central, np.inf).argmin() if free.any() else gaps.argmax()
        places[image] = (float(points[best, 0]), float(points[best, 1]))
    return places


def silhouettes_figure(curves: Mapping[str, pd.DataFrame], *, inks: Inks) -> Figure:
    """Draw the silhouettes of all held-out images as dots with intervals, one panel per grouping."""
    tables = {GROUPS[group].capitalize(): table for group, table in curves.items()}
    figure = dot_figure(tables, inks=inks, xlabel="silhouette")
    with styled():
        for axis in figure.axes:
            axis.axvline(0, color="#777777", linewidth=0.8)
    return figure


def silhouettes_caption(curves: Mapping[str, pd.DataFrame]) -> str:
    """Return the caption of the silhouettes."""
    return (
        "Silhouette of the patch tokens of the last block (cosine distance). 1: tokens cluster by image or "
        "class; below 0: they are closer to another cluster. "
        f"{bands(next(iter(curves.values())), marks=DOTS)}"
    )


def silhouettes_alt(curves: Mapping[str, pd.DataFrame]) -> str:
    """Return the alternative text of the silhouettes."""
    labels = next(iter(curves.values()))["label"]
    return alt_text("Dots with error bars of the silhouette, by image and by class, a row per arm.", labels)


def planes_caption(planes: Mapping[str, pd.DataFrame]) -> str:
    """Return the caption of the planes."""
    tokens = next(iter(planes.values()))
    images, classes = tokens["image"].nunique(), tokens["class"].nunique()
    return (
        f"t-SNE of the patch tokens of the last block, for {images} held-out images of {classes} classes; "
        "one training of each arm. Upper panel of an arm: coloured and numbered by image; lower: by class. "
        "Distances between clusters and their sizes have no meaning in t-SNE."
    )


def planes_alt(planes: Mapping[str, pd.DataFrame]) -> str:
    """Return the alternative text of the planes."""
    return alt_text("t-SNE planes of patch tokens, coloured by image and by class, a column per arm.", planes)


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.margins(0.05)
