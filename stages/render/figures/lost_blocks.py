"""Which blocks matter: the accuracy of a fine-tuned encoder after the reset of one block."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.line_charts import Inks, draw_curves, label_line_ends, panels, share, whole_ticks
from stages.render.figures.name_placing import settle
from stages.render.figures.style import styled
from stages.render.words import listed, on_set, signed
from stages.results.corrupted import LOST_BLOCK, changes
from stages.results.study_results import Results

HEAD = "fine-tuned"
MANY = 5  # a sentence that names more arms is hard to read


def block_losses(results: Results) -> pd.DataFrame:
    """Return the change of accuracy after the reset of each block to its initial weights, paired by image.

    Returns: label, head, labels, block, mean, low, high (points), trainings, seed_0 and so on, images; no
             rows if the study does not measure this
    """
    losses = changes(results, trial=LOST_BLOCK)
    if losses.empty:
        return losses
    losses = losses[losses["head"] == HEAD].rename(columns={"level": "block"})
    return losses.astype({"block": int}).reset_index(drop=True)


def losses_figure(losses: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw the change of accuracy against the reset block, one panel per label set, one line per label."""
    sets = list(dict.fromkeys(losses["labels"]))
    with styled():
        figure, axes = panels(len(sets), height=3.2, columns=2)
        for axis, labels in zip(axes, sets, strict=True):
            draw_curves(axis, losses[losses["labels"] == labels], inks=inks, x="block")
            axis.axhline(0, color="#777777", linewidth=0.8)
            axis.set(title=str(labels).capitalize(), xlabel="reset block")
            whole_ticks(axis)
        share(axes, ylabel="change of accuracy (points)")
        settle(figure)
        for axis, labels in zip(axes, sets, strict=True):
            label_line_ends(axis, losses[losses["labels"] == labels], inks=inks, x="block")
    return figure


def losses_caption(losses: pd.DataFrame) -> str:
    """Return the caption of `losses_figure`."""
    return (
        "Change of accuracy when one block of the fine-tuned encoder is reset to its initial weights, on the "
        f"same images (Zhang et al. 2019). {bands(losses)}"
    )


def losses_findings(losses: pd.DataFrame) -> str:
    """Return for each label set which reset costs each arm the most accuracy.

    losses: as `block_losses` returns them
    """
    sentences = []
    for labels, part in losses.groupby("labels", sort=False):
        worst = part.loc[part.groupby("label", sort=False)["mean"].idxmin()]
        block = f"Block whose reset costs the most accuracy{on_set(str(labels))}"
        if len(worst) > MANY:
            sentences.append(f"{block}: {_of_many(worst)}.")
            continue
        arms = listed(f"block {row['block']} for {row['label']} ({signed(row['mean'])})"
                      for _, row in worst.iterrows())  # fmt: skip
        sentences.append(f"{block} (change in points): {arms}.")
    return " ".join(sentences)


def _of_many(worst: pd.DataFrame) -> str:
    """Return the block that most arms depend on most, and the arm with the largest loss."""
    block = worst["block"].mode().iloc[0]
    row = worst.loc[worst["mean"].idxmin()]
    return (
        f"block {block} for {(worst['block'] == block).sum()} of {len(worst)} arms; largest change: "
        f"{row['label']} after the reset of block {row['block']}, {signed(row['mean'])} points"
    )


def losses_alt(losses: pd.DataFrame) -> str:
    """Return the alternative text of `losses_figure`."""
    return alt_text("Line charts of the change of accuracy against the reset block.", losses["label"])
