"""Whether tokens lie by image or by class: planes of a few images, and silhouettes of all."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, bands, in_order
from stages.render.figures.line_charts import Inks, draw_ticks, title_of
from stages.render.figures.style import COLOURS, MARKERS, darker, new_figure, styled
from stages.render.words import fixed
from stages.results.analysis_curves import block_curves, first_training
from stages.results.study_results import Results

ANALYSIS = "token_embedding"
GROUPS = {"image": "by image", "class": "by class"}


def silhouettes(results: Results, *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Silhouettes of the last block's tokens by image and by class, where the evaluation has two of them.

    returns: image or class -> as `analysis_curves.block_curves`, one row an arm
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
    """The tokens of the images that are drawn, of the first seed.

    returns: label -> image, class, index (of the patch), x, y, plane_image and plane_class (mean silhouettes
             in the plane, NaN where not defined)
    """
    found = {}
    for arm in results.arms:
        frame = first_training(results, arm, results.analysis(ANALYSIS, arm))
        places = frame[frame["measure"].isin(["x", "y"])]
        wide = places.pivot(
            index=["image", "class", "index"], columns="measure", values="value"
        ).reset_index()
        means = frame.groupby("measure")["value"].mean()
        found[results.label(arm)] = wide.assign(
            **{f"plane_{group}": means.get(f"plane_{group}", np.nan) for group in GROUPS}
        )
    return found


def planes_figure(planes: Mapping[str, pd.DataFrame], *, inks: Inks) -> Figure:
    """A column per label: its tokens in the plane, above coloured by image, below by class.

    planes: as `planes` gives them
    Images have a number where most of their tokens lie; classes have a marker of their own too.
    """
    with styled():
        figure = new_figure(width=max(9.0, 2.2 * len(planes)), height=5.2)
        grid = figure.subplots(2, len(planes), squeeze=False)
        for place, (label, tokens) in enumerate(planes.items()):
            above, below = grid[:, place]
            title_of(above, label, inks[label])
            numbers = {image: i for i, image in enumerate(tokens["image"].unique())}
            shades = colormaps["turbo"](np.linspace(0.03, 0.97, max(2, len(numbers))))
            for image, rows in tokens.groupby("image"):
                above.plot(rows["x"], rows["y"], "o", color=shades[numbers[image]], markersize=2, alpha=0.75,
                           markeredgewidth=0, rasterized=True)  # fmt: skip
            for image, rows in tokens.groupby("image"):
                above.text(rows["x"].median(), rows["y"].median(), str(numbers[image] + 1), fontsize=8.5,
                           fontweight="bold", ha="center", va="center",
                           bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "alpha": 0.8,
                                 "linewidth": 0})  # fmt: skip
            for number, (_, rows) in enumerate(tokens.groupby("class")):
                marker, colour = MARKERS[number % len(MARKERS)], COLOURS[number % len(COLOURS)]
                below.plot(rows["x"], rows["y"], marker, markersize=2.4, alpha=0.75, color=colour,
                           markeredgewidth=0, rasterized=True)  # fmt: skip
            for axis, group in ((above, "image"), (below, "class")):
                _bare(axis)
                axis.set_xlabel(f"silhouette {_told(tokens[f'plane_{group}'].iloc[0])}", fontsize=9)
        for axes, words in zip(grid, GROUPS.values(), strict=True):
            axes[0].set_ylabel(words)
    return figure


def silhouettes_figure(found: Mapping[str, pd.DataFrame], *, inks: Inks) -> Figure:
    """Silhouettes of all held-out images as dots with their intervals, a panel per grouping."""
    labels = list(next(iter(found.values()))["label"])
    with styled():
        figure = new_figure(height=1.0 + 0.34 * len(labels))
        panels = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
        for axis, (group, table) in zip(panels, found.items(), strict=True):
            axis.axvline(0, color="#777777", linewidth=0.8)
            for place, (_, row) in enumerate(table.iterrows()):
                ink = inks[row["label"]]
                axis.plot([row["low"], row["high"]], [place, place], color=ink.colour, linewidth=2)
                axis.plot(row["mean"], place, ink.marker, color=ink.colour, markersize=6)
                draw_ticks(axis, row, place=place, ink=ink)
            axis.set(title=GROUPS[group].capitalize(), xlabel="silhouette", ylim=(len(labels) - 0.5, -0.5))
        panels[0].set_yticks(range(len(labels)), labels)
        for text, label in zip(panels[0].get_yticklabels(), labels, strict=True):
            text.set_color(darker(inks[label].colour))
    return figure


def silhouettes_caption(found: Mapping[str, pd.DataFrame]) -> str:
    """Caption of the silhouettes: what they are, and their values in order."""
    said = [
        "Silhouette of the last block's patch tokens by cosine distance, among all held-out images measured. "
        "1: the tokens of an image (or class) lie together and far from all others; 0: between them; below "
        f"0: nearer to another. {bands(next(iter(found.values())), marks=DOTS)}"
    ]
    for group, table in found.items():
        said.append(
            f"{GROUPS[group].capitalize()}, from highest to lowest: {in_order(table.set_index('label'))}."
        )
    return " ".join(said)


def silhouettes_alt(found: Mapping[str, pd.DataFrame]) -> str:
    """Alternative text of the silhouettes: every value."""
    said = ["Dots with error bars, one per arm."]
    for group, table in found.items():
        told = (f"{row['label']} {fixed(row['mean'], decimals=3)}" for _, row in table.iterrows())
        said.append(f"Silhouette {GROUPS[group]}: {'; '.join(told)}.")
    return " ".join(said)


def planes_caption(planes: Mapping[str, pd.DataFrame]) -> str:
    """Caption of the planes: what is drawn, and the silhouettes by image in the plane in order."""
    tokens = next(iter(planes.values()))
    images, classes = tokens["image"].nunique(), tokens["class"].nunique()
    by_image = {label: table["plane_image"].iloc[0] for label, table in planes.items()}
    ranked = sorted((item for item in by_image.items() if np.isfinite(item[1])), key=lambda item: -item[1])
    order = "; ".join(f"{label} {_told(value)}" for label, value in ranked)
    return (
        f"t-SNE of the last block's patch tokens of {images} held-out images of {classes} classes, of the "
        "first "
        "training of each arm: above "
        "coloured and numbered by image, below by class. Silhouettes below each panel are of the places in "
        "the plane, which t-SNE moves apart as it likes; what was measured are those of all images, above."
        + (f" By image in the plane, from highest to lowest: {order}." if order else "")
    )


def planes_alt(planes: Mapping[str, pd.DataFrame]) -> str:
    """Alternative text of the planes: the silhouettes of every panel."""
    said = [
        "Scatter plots of tokens in a plane, a column per arm, coloured by image above and by class below."
    ]
    for label, table in planes.items():
        told = " and ".join(
            f"{_told(table[f'plane_{group}'].iloc[0])} {words}" for group, words in GROUPS.items()
        )
        said.append(f"{label}: silhouette {told}.")
    return " ".join(said)


def _told(value: float) -> str:
    return fixed(value, decimals=2) if np.isfinite(value) else "not defined"


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.margins(0.05)
