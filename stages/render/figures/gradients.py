"""Whether the two losses of a hybrid pull its weights the same way."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import bands
from stages.render.figures.line_charts import Inks, draw_curves, label_line_ends, whole_ticks
from stages.render.figures.name_placing import settle
from stages.render.figures.style import CONTROL, new_figure, styled
from stages.render.words import fixed, number
from stages.results.schemas import GRADIENTS
from stages.results.seeds import columns, over_seeds
from stages.results.study_results import Results

RANGE = "ranges of these epochs"


def gradient_rows(results: Results) -> pd.DataFrame:
    """What was measured of the two gradients of every arm that has two losses.

    returns: label, seed, epoch, block, cosine, norm_cl, norm_mim; no rows if no arm has two losses. A block
             that a loss does not reach has no cosine, and no row
    Raises StudyError if a table cannot be read.
    """
    parts = [results.gradients(arm).assign(label=results.label(arm)) for arm in results.arms]
    filled = [part for part in parts if len(part)]
    rows = pd.concat(filled or parts[:1], ignore_index=True)
    return rows.dropna(subset=["cosine"])[["label", *GRADIENTS]].reset_index(drop=True)


def late_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean cosine of each block over the second half of the epochs; one batch says little.

    rows:    as `gradient_rows` gives them
    returns: label, block, mean, low, high, trainings, seed_0 and so on; with one training the interval is
             from the lowest to the highest of those epochs
    """
    last = rows.groupby("label", sort=False)["epoch"].transform("max")
    return cosine_curves(rows[rows["epoch"] > last / 2], by="block", ranges=True)


def cosine_curves(rows: pd.DataFrame, *, by: str, ranges: bool = False) -> pd.DataFrame:
    """The mean cosine of every arm at each block or epoch, over whatever else the rows differ in.

    ranges:  the interval of one training is from its lowest to its highest row; otherwise it has none
    returns: as `late_rows`
    """
    parts = []
    for label, own in rows.groupby("label", sort=False):
        values = own.pivot_table(index="seed", columns=by, values="cosine", sort=False).sort_index(axis=1)
        spread = own.groupby(by)["cosine"]
        alone = (spread.min().to_numpy(), spread.max().to_numpy()) if ranges else None
        numbers = over_seeds(values.to_numpy(), alone=alone)
        place = {"label": label, by: values.columns.to_numpy()}
        parts.append(pd.DataFrame(place | columns(numbers, seeds=list(values.index))))
    return pd.concat(parts, ignore_index=True)


def gradient_figure(rows: pd.DataFrame, *, inks: Inks) -> Figure:
    """The cosine of the two gradients by block late in training, and over training as the mean of the blocks.

    rows: as `gradient_rows` gives them
    """
    by_epoch = cosine_curves(rows, by="epoch")
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
        f"Left: mean over the second half of the epochs. {bands(late_rows(rows), alone=RANGE)} "
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
