"""The cosine between the gradients of the two losses of a hybrid."""

import math

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, LINES, alt_text, bands, extremes
from stages.render.figures.line_charts import Inks, draw_curves, label_line_ends, whole_ticks
from stages.render.figures.name_placing import lines_of, settle
from stages.render.figures.style import CONTROL, NARROW, WIDE, new_figure, styled
from stages.render.words import fixed, listed, number
from stages.results.gradients import cosines, gradient_ratio, late
from stages.results.schemas import GRADIENTS
from stages.results.seeds import columns, over_seeds
from stages.results.study_results import Results

NOTHING = "no interval"
MANY = 4  # arms; with more, only the extremes are named
PUBLISHED = (
    "For comparison, Layer Grafted (Jiang et al., ICLR 2023) reports a conflict that grows with depth."
)
TITLES = {"block": "By block, second half of training", "epoch": "By epoch, all blocks"}


def gradient_rows(results: Results) -> pd.DataFrame:
    """Return the measured gradients of every arm with two losses.

    Returns: label, and the columns of schemas.GRADIENTS; no rows if no arm has two losses. Blocks that a loss
             does not reach, and epochs with too few steps, have no rows
    Raises StudyError if a table cannot be read.
    """
    parts = [results.gradients(arm).assign(label=results.label(arm)) for arm in results.arms]
    filled = [part for part in parts if len(part)]
    rows = pd.concat(filled or parts[:1], ignore_index=True)
    return rows.dropna(subset=["half_cl", "half_mim"])[["label", *GRADIENTS]].reset_index(drop=True)


def late_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the cosine of each block in the second half of the epochs.

    rows:    as `gradient_rows` returns them
    Returns: label, block, mean, low, high, trainings, seed_0 and so on; one training has no interval
    """
    return cosine_curves(pd.concat([late(part) for _, part in rows.groupby("label", sort=False)]), by="block")


def cosine_curves(rows: pd.DataFrame, *, by: str) -> pd.DataFrame:
    """Return the cosine of every arm for each block or epoch, over all batches of that block or epoch.

    Returns: as `late_rows`; without places where noise dominates the gradient of a training
    """
    parts = []
    for label, part in rows.groupby("label", sort=False):
        values = cosines(part, by=by).dropna(axis=1)
        place = {"label": label, by: values.columns.to_numpy()}
        parts.append(pd.DataFrame(place | columns(over_seeds(values.to_numpy()), seeds=list(values.index))))
    return pd.concat(parts, ignore_index=True)


def gradient_figure(rows: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw the cosine of the two gradients by block late in training, and by epoch over all blocks.

    A panel without any cosine is left out.

    rows: as `gradient_rows` returns them, with at least one cosine, see `measured`
    """
    drawn = measured(rows)
    with styled():
        figure = new_figure(width=WIDE if len(drawn) > 1 else NARROW,
                            height=max(3.4, 1.0 + 0.25 * lines_of(rows["label"])))  # fmt: skip
        axes = figure.subplots(1, len(drawn), squeeze=False, sharey=True)[0]
        for axis, (x, curves) in zip(axes, drawn.items(), strict=True):
            axis.axhline(0, color=CONTROL, linewidth=0.8)
            draw_curves(axis, curves, inks=inks, x=x)
            axis.set(title=TITLES[x], xlabel=x, ylabel="cosine of the CL and MIM gradients")
            axis.tick_params(labelleft=True)
            whole_ticks(axis)
        settle(figure)
        for axis, (x, curves) in zip(axes, drawn.items(), strict=True):
            label_line_ends(axis, curves, inks=inks, x=x)
    return figure


def measured(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the cosines by block late in training and by epoch, as far as noise leaves any.

    rows:    as `gradient_rows` returns them
    Returns: block or epoch -> as `cosine_curves` returns them
    """
    curves = {"block": late_rows(rows), "epoch": cosine_curves(rows, by="epoch")}
    return {by: curve for by, curve in curves.items() if len(curve)}


def gradient_caption(rows: pd.DataFrame) -> str:
    """Return the caption of `gradient_figure`."""
    panels = [*measured(rows).values()]
    single = not any(curves["label"].duplicated().any() for curves in panels)  # one value makes no line
    return (
        "Cosine between the gradients of the CL and MIM losses, corrected for noise by the split-half cosine "
        "of each loss; near 0 the gradients are nearly orthogonal. Noise-dominated blocks and epochs are "
        f"omitted. {bands(panels[0], marks=DOTS if single else LINES, alone=NOTHING)}"
    )


def gradient_alt(rows: pd.DataFrame) -> str:
    """Return the alternative text of `gradient_figure`."""
    return alt_text(
        f"Line charts of the cosine between the CL and MIM gradients, by {listed(measured(rows))}.",
        rows["label"],
    )


def gradient_findings(rows: pd.DataFrame) -> str:
    """Return for each label the cosine in the first and the last block, and the ratio of the gradients."""
    sentences = []
    curves = late_rows(rows)
    if curves["label"].nunique() > MANY:
        last = curves.groupby("label", sort=False).tail(1).set_index("label")
        last.loc[last["trainings"] == 1, ["low", "high"]] = math.nan  # no interval
        return f"The cosine in the last block is highest for {extremes(last)}. {PUBLISHED}"
    for label, blocks in curves.groupby("label", sort=False):
        ends = [
            f"{fixed(row['mean'], decimals=2)} in block {row['block']:.0f}"
            for _, row in blocks.iloc[[0, -1] if len(blocks) > 1 else [0]].iterrows()
        ]
        ratio = gradient_ratio(rows[rows["label"] == label])
        size = "MIM has no weight"
        if math.isfinite(ratio):
            times = f"{number(ratio, digits=2)} times that of the weighted MIM gradient"
            size = f"the norm of the weighted CL gradient is {times}"
        sentences.append(f"{label}: cosine {', '.join(ends)}; {size}.")
    if not sentences:
        return ""
    return f"{' '.join(sentences)} {PUBLISHED}"
