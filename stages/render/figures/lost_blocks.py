"""Which blocks matter: what a fine-tuned encoder loses with what each of its blocks has learnt."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import bands
from stages.render.figures.line_charts import Inks, draw_curves, label_line_ends, panels, share, whole_ticks
from stages.render.figures.name_placing import settle
from stages.render.figures.style import styled
from stages.render.words import fixed, listed, on_set
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
    """Caption: what is drawn, and which block each arm misses most."""
    return (
        "Accuracy of the fine-tuned encoder with one block put back to what it was before any training, less "
        f"that of the whole encoder on the same images. {bands(losses)} "
        f"{_worst(losses)} Beyond the paper: Zhang et al. 2019."
    )


def losses_alt(losses: pd.DataFrame) -> str:
    """Alternative text: which block each arm misses most."""
    return f"{_worst(losses)} Line charts of the change of accuracy against the block, one line per arm."


def _worst(losses: pd.DataFrame) -> str:
    said = []
    for labels, part in losses.groupby("labels", sort=False):
        worst = part.loc[part.groupby("label", sort=False)["mean"].idxmin()]
        told = listed(
            f"{row['label']} block {row['block']} ({fixed(row['mean'], decimals=1)} points)"
            for _, row in worst.iterrows()
        )
        said.append(f"Missed most{on_set(str(labels))}: {told}.")
    return " ".join(said)
