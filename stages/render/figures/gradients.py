"""Whether the two losses of a hybrid pull its weights the same way."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.line_charts import Inks, draw_curves, label_line_ends, whole_ticks
from stages.render.figures.name_placing import settle
from stages.render.figures.style import CONTROL, new_figure, styled
from stages.render.words import fixed, number
from stages.results.gradients import cosines, gradient_ratio, late
from stages.results.schemas import GRADIENTS
from stages.results.seeds import columns, over_seeds
from stages.results.study_results import Results

NOTHING = "not known"


def gradient_rows(results: Results) -> pd.DataFrame:
    """What was measured of the two gradients of every arm that has two losses.

    returns: label, and the columns of schemas.GRADIENTS; no rows if no arm has two losses. A block that a
             loss does not reach, and an epoch of too few steps, have no row
    Raises StudyError if a table cannot be read.
    """
    parts = [results.gradients(arm).assign(label=results.label(arm)) for arm in results.arms]
    filled = [part for part in parts if len(part)]
    rows = pd.concat(filled or parts[:1], ignore_index=True)
    return rows.dropna(subset=["half_cl", "half_mim"])[["label", *GRADIENTS]].reset_index(drop=True)


def late_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The cosine of each block in the second half of the epochs.

    rows:    as `gradient_rows` gives them
    returns: label, block, mean, low, high, trainings, seed_0 and so on; one training has no interval
    """
    return cosine_curves(pd.concat([late(own) for _, own in rows.groupby("label", sort=False)]), by="block")


def cosine_curves(rows: pd.DataFrame, *, by: str) -> pd.DataFrame:
    """The cosine of every arm at each block or epoch, of all its batches there put together.

    returns: as `late_rows`; none where the gradient of a training is lost in noise
    """
    parts = []
    for label, own in rows.groupby("label", sort=False):
        values = cosines(own, by=by).dropna(axis=1)
        place = {"label": label, by: values.columns.to_numpy()}
        parts.append(pd.DataFrame(place | columns(over_seeds(values.to_numpy()), seeds=list(values.index))))
    return pd.concat(parts, ignore_index=True)


def gradient_figure(rows: pd.DataFrame, *, inks: Inks) -> Figure:
    """The cosine of the two gradients by block late in training, and over training of all blocks together.

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
            axis.set(xlabel=x, ylabel="cosine of the CL and MIM gradients")
            axis.tick_params(labelleft=True)
            whole_ticks(axis)
        left.set_title("By block, late in training")
        right.set_title("Over training, all blocks")
        settle(figure)
        for axis, curves, x in panels:
            label_line_ends(axis, curves, inks=inks, x=x)
    return figure


def gradient_caption(rows: pd.DataFrame) -> str:
    """Caption of `gradient_figure`."""
    return (
        "Cosine between the gradients of the CL and MIM losses, divided by the split-half cosine of each "
        "loss; near 0 the gradients are nearly orthogonal. Left: second half of the epochs. "
        f"{bands(late_rows(rows), alone=NOTHING)}"
    )


def gradient_alt(rows: pd.DataFrame) -> str:
    """Alternative text of `gradient_figure`."""
    return alt_text(
        "Line charts of the cosine between the CL and the MIM gradient, by block and by epoch.", rows["label"]
    )


def gradient_findings(rows: pd.DataFrame) -> str:
    """Say for each label where the cosine starts and ends, and which gradient is longer."""
    said = []
    for label, blocks in late_rows(rows).groupby("label", sort=False):
        ends = [
            f"{fixed(row['mean'], decimals=2)} in block {row['block']:.0f}"
            for _, row in blocks.iloc[[0, -1] if len(blocks) > 1 else [0]].iterrows()
        ]
        ratio = number(gradient_ratio(rows[rows["label"] == label]), digits=2)
        said.append(f"{label}: {', '.join(ends)}; weighted, CL's is {ratio} times as long as MIM's.")
    return f"{' '.join(said)} Layer Grafted (Jiang et al., ICLR 2023) reports conflict that grows with depth."
