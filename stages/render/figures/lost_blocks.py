"""Which blocks matter: what a fine-tuned encoder loses with what each of its blocks has learnt."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.line_charts import Inks, draw_curves, label_line_ends, panels, share, whole_ticks
from stages.render.figures.name_placing import settle
from stages.render.figures.style import styled
from stages.results.corrupted import LOST_BLOCK, changes
from stages.results.study_results import Results

HEAD = "fine-tuned"


def block_losses(results: Results) -> pd.DataFrame:
    """Change of accuracy when a block is as it was before training, paired image by image.

    returns: label, head, labels, block, mean, low, high (points), trainings, seed_0 and so on, images; no
             rows if it was not measured
    """
    losses = changes(results, trial=LOST_BLOCK)
    if losses.empty:
        return losses
    losses = losses[losses["head"] == HEAD].rename(columns={"level": "block"})
    return losses.astype({"block": int}).reset_index(drop=True)


def losses_figure(losses: pd.DataFrame, *, inks: Inks) -> Figure:
    """Change of accuracy against the block that was lost, a panel per label set, one line per label."""
    sets = list(dict.fromkeys(losses["labels"]))
    with styled():
        figure, axes = panels(len(sets), height=3.2, columns=2)
        for axis, labels in zip(axes, sets, strict=True):
            draw_curves(axis, losses[losses["labels"] == labels], inks=inks, x="block")
            axis.axhline(0, color="#777777", linewidth=0.8)
            axis.set(title=str(labels).capitalize(), xlabel="block that lost what it had learnt")
            whole_ticks(axis)
        share(axes, ylabel="change of accuracy (points)")
        settle(figure)
        for axis, labels in zip(axes, sets, strict=True):
            label_line_ends(axis, losses[losses["labels"] == labels], inks=inks, x="block")
    return figure


def losses_caption(losses: pd.DataFrame) -> str:
    """Caption of the lost blocks."""
    return (
        "Accuracy of the fine-tuned encoder with one block put back to what it was before any training, less "
        f"that of the whole encoder on the same images (Zhang et al. 2019). {bands(losses)}"
    )


def losses_alt(losses: pd.DataFrame) -> str:
    """Alternative text of the lost blocks."""
    return alt_text("Line charts of the change of accuracy against the block that is lost.", losses["label"])
