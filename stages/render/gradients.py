"""Whether the two losses of a hybrid pull its weights the same way: the figure, and the words to it."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.curves import Inks, draw_curves, label_line_ends, whole_ticks
from stages.render.figures import show
from stages.render.labels import settle
from stages.render.prose import fixed, number, put
from stages.render.style import CONTROL, new_figure, styled
from stages.render.tables import Arms, arms_by_label
from stages.study.errors import StudyError
from stages.study.paths import gradients_table

COLUMNS = ("epoch", "block", "cosine", "norm_cl", "norm_mim")


def gradient_section(arms: Arms, *, inks: Inks, folder: str = "") -> None:
    """Show the figure of the gradients, where an arm of the study has two losses.

    Raises StudyError as `gradient_rows` does.
    """
    rows = gradient_rows(arms)
    if len(rows):
        put("<h3>Whether both losses pull the same way</h3>")
        show(
            gradient_figure(rows, inks=inks),
            name="gradients",
            alt=gradient_alt(rows),
            caption=gradient_caption(rows),
            data=rows,
            folder=folder,
        )


def gradient_rows(arms: Arms) -> pd.DataFrame:
    """What was kept of the two gradients of every arm that has two losses, replicates averaged.

    returns: label, epoch, block, cosine, norm_cl, norm_mim; no rows if no arm has two losses. A block that a
             loss does not reach has no cosine, and no row
    Raises StudyError naming a file that lacks a column.
    """
    found = []
    for label, names in arms_by_label(arms).items():
        paths = [path for path in map(gradients_table, names) if path.is_file()]
        for path in paths:
            frame = pd.read_csv(path)
            lacking = [column for column in COLUMNS if column not in frame]
            if lacking:
                raise StudyError(f"{path}: no column {', '.join(lacking)}; there are: {', '.join(frame)}")
            found.append(frame[list(COLUMNS)].assign(label=label))
    if not found:
        return pd.DataFrame(columns=["label", *COLUMNS])
    rows = pd.concat(found, ignore_index=True).dropna(subset=["cosine"])
    return rows.groupby(["label", "epoch", "block"], sort=False, as_index=False).mean()


def late_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean cosine of each block over the second half of the epochs, from the lowest to the highest.

    rows:    as `gradient_rows` gives them; one batch an epoch says little by itself
    returns: label, block, mean, low, high
    """
    last = rows.groupby("label", sort=False)["epoch"].transform("max")
    late = rows[rows["epoch"] > last / 2].groupby(["label", "block"], sort=False)["cosine"]
    return late.agg(mean="mean", low="min", high="max").reset_index()


def gradient_figure(rows: pd.DataFrame, *, inks: Inks) -> Figure:
    """The cosine of the two gradients by block late in training, and over training as the mean of the blocks.

    rows: as `gradient_rows` gives them
    """
    by_epoch = rows.groupby(["label", "epoch"], sort=False)["cosine"]
    by_epoch = by_epoch.agg(mean="mean", low="mean", high="mean").reset_index()
    with styled():
        figure = new_figure(height=max(3.4, 1.0 + 0.25 * rows["label"].nunique()))
        left, right = figure.subplots(1, 2, sharey=True)
        panels = ((left, late_rows(rows), "block"), (right, by_epoch, "epoch"))
        for axis, curves, x in panels:
            axis.axhline(0, color=CONTROL, linewidth=0.8)
            draw_curves(axis, curves, inks=inks, x=x)
            axis.set_xlabel(x)
            axis.tick_params(labelleft=True)
            whole_ticks(axis)
        left.set(title="By block, late in training", ylabel="cosine of the CL and MIM gradients")
        right.set_title("Over training, mean of the blocks")
        settle(figure)
        for axis, curves, x in panels:
            label_line_ends(axis, curves, inks=inks, x=x)
    return figure


def gradient_caption(rows: pd.DataFrame) -> str:
    """Caption of `gradient_figure`: what is drawn, and for each label its first and last block."""
    said = []
    for label, blocks in late_rows(rows).groupby("label", sort=False):
        ends = [
            f"{fixed(row['mean'], decimals=2)} in block {row['block']:.0f}"
            for _, row in blocks.iloc[[0, -1] if len(blocks) > 1 else [0]].iterrows()
        ]
        own = rows[rows["label"] == label]
        ratio = number((own["norm_mim"] / own["norm_cl"]).median(), digits=2)
        said.append(f"{label}: {', '.join(ends)}; the MIM gradient is {ratio} times as long as that of CL.")
    return (
        "Cosine between the gradients of the CL and of the MIM loss, before their weights, on the last batch "
        "of every epoch: below 0 they pull the weights of a block apart, near 0 they do not mind each other. "
        "Left: mean over the second half of the epochs, bands from the lowest to the highest. "
        f"{' '.join(said)} Layer Grafted (Jiang et al., ICLR 2023) reports conflict, the more the deeper the "
        "block."
    )


def gradient_alt(rows: pd.DataFrame) -> str:
    """Alternative text of `gradient_figure`: the cosine of every block of every label."""
    late = late_rows(rows).groupby("label", sort=False)["mean"].mean()
    said = [
        f"The gradients of {label} have a mean cosine of {fixed(value, decimals=2)}."
        for label, value in late.items()
    ]
    said.append("Two line charts of the cosine between the CL and the MIM gradient, one line per arm.")
    for label, blocks in late_rows(rows).groupby("label", sort=False):
        values = ", ".join(fixed(value, decimals=2) for value in blocks["mean"])
        said.append(f"{label}, blocks 1 to {blocks['block'].max():.0f}: {values}.")
    return " ".join(said)
