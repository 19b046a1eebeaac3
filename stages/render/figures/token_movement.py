"""Movement of the tokens of an image in self-attention: one arrow per token."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text
from stages.render.figures.line_charts import Inks, wrapped
from stages.render.figures.singular_values import ANALYSIS
from stages.render.figures.style import darker, new_figure, styled
from stages.render.words import number
from stages.results.analysis_curves import first_training
from stages.results.study_results import Results


def movements(results: Results) -> dict[int, pd.DataFrame]:
    """Return the tokens of each drawn image before and after self-attentions, for the first seed.

    Returns: image -> label, block, blocks (number of blocks), index (of the patch), x, y before, x_after,
             y_after, unison (of the image in that block), seed
    """
    parts = []
    for arm in results.arms:
        frame = first_training(results, arm, results.analysis(ANALYSIS, arm))
        places = frame[frame["measure"].isin(["coordinate_1", "coordinate_2"])]
        wide = places.pivot(
            index=["image", "block", "index"], columns=["place", "measure"], values="value"
        ).reindex(columns=[(p, f"coordinate_{d}") for p in ("before", "after") for d in (1, 2)])
        wide.columns = pd.Index(["x", "y", "x_after", "y_after"])
        unison = frame[frame["measure"] == "unison"].set_index(["image", "block"])["value"]
        wide = wide.reset_index().join(unison.rename("unison"), on=["image", "block"])
        about = {"label": results.label(arm), "seed": results.seeds(arm)[0]}
        parts.append(wide.assign(**about, blocks=frame["block"].max()))
    table = pd.concat(parts, ignore_index=True)
    return {int(image): rows.reset_index(drop=True) for image, rows in table.groupby("image")}


def patch_counts(moves: dict[int, pd.DataFrame]) -> list[int]:
    """Return the numbers of patches of the encoders, without repetition.

    moves: as `movements` returns them
    """
    return sorted({int(count) for rows in moves.values() for count in rows.groupby("label")["index"].max()})


def movement_figure(moves: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw the movement of each token of an image, one row per label, one column per block.

    moves: one image of `movements`
    """
    labels = list(dict.fromkeys(moves["label"]))
    columns = moves.groupby("label", sort=False)["block"].nunique().max()
    with styled():
        figure = new_figure(width=0.3 + 2.3 * columns, height=0.4 + 2.2 * len(labels))
        grid = figure.subplots(len(labels), columns, squeeze=False)
        for axes, label in zip(grid, labels, strict=True):
            ink, rows = inks[label], moves[moves["label"] == label]
            for axis, (block, tokens) in zip(axes, rows.groupby("block"), strict=False):
                ends = tokens[["x_after", "y_after"]].to_numpy()
                starts = tokens[["x", "y"]].to_numpy()
                axis.plot(*arrows(starts, ends).T, color=ink.colour, linewidth=1.1, solid_capstyle="round")
                axis.plot(*starts.T, "o", color="#555555", markersize=2.6, markeredgewidth=0)
                axis.set_aspect("equal", adjustable="datalim")
                axis.margins(0.06)
                axis.autoscale_view()
                of, apart = tokens["blocks"].iloc[0], number(1 - tokens["unison"].iloc[0], digits=2)
                axis.set(xticks=[], yticks=[])
                axis.set_title(f"{wrapped(label)}\nblock {block} of {of}: 1 − unison {apart}", fontsize=9,
                               color=darker(ink.colour))  # fmt: skip
            for axis in axes[rows["block"].nunique() :]:
                axis.remove()
    return figure


def arrows(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return one line that draws all arrows, with NaN between the strokes.

    starts, ends: (arrows, 2)
    Returns:      (strokes, 2): shaft and head of each arrow; a head is no longer than a third of its shaft
    """
    steps = ends - starts
    longest = 0.04 * np.ptp(np.concatenate([starts, ends]), axis=0).max()
    lengths = np.maximum(np.hypot(*steps.T), 1e-12)[:, None]
    back = -steps / lengths * np.minimum(longest, lengths / 3)
    aside = 0.5 * back[:, ::-1] * [1, -1]
    gap = np.full_like(starts, np.nan)
    strokes = np.stack([starts, ends, gap, ends + back + aside, ends, ends + back - aside, gap], axis=1)
    return strokes.reshape(-1, 2)


def movement_caption(moves: pd.DataFrame, *, image: int) -> str:
    """Return the caption of the arrows of one image."""
    return (
        f"Movement of the patch tokens of held-out image {image} in single self-attentions; one training of "
        "each arm. An arrow leads from a token before self-attention (dot) to the same token after it. Axes: "
        "the first two right-singular vectors of all these tokens, centred; every panel has its own scale."
    )


def movement_alt(moves: pd.DataFrame) -> str:
    """Return the alternative text of the arrows of one image."""
    return alt_text("Small panels of arrows, one per token, for each arm in three blocks.", moves["label"])
