"""The pre-training loss of every arm by epoch."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text
from stages.render.figures.line_charts import Inks, panels, title_of, whole_ticks
from stages.render.figures.name_placing import label_ends, settle
from stages.render.figures.style import styled
from stages.render.words import any_of
from stages.results.study_results import Results


def loss_caption(histories: Mapping[str, pd.DataFrame]) -> str:
    """Return the caption of the pre-training losses.

    histories: as `histories` returns them
    """
    return (
        f"Pre-training loss by epoch{_trainings(histories)}; dotted: the terms of a sum, or, for MIM, the "
        "loss of predicting the mean of the visible surroundings. Every panel has its own scale, because "
        "losses of different objectives are not comparable."
    )


def loss_alt(histories: Mapping[str, pd.DataFrame]) -> str:
    """Return the alternative text of the pre-training losses."""
    return alt_text("Line charts of the pre-training loss against epoch, a panel per trained arm.", histories)


def _trainings(histories: Mapping[str, pd.DataFrame]) -> str:
    """Return over how many trainings each history is averaged, in brackets."""
    counts = {label: history["seed"].nunique() for label, history in histories.items()}
    several = sorted({count for count in counts.values() if count > 1})
    once = [label for label, count in counts.items() if count == 1]
    if not several:
        return " (one training per arm)"
    text = f"mean over {any_of(several)} trainings; thin lines: single trainings"
    return (
        f" ({text}; {once[0] if len(once) == 1 else f'{len(once)} arms'}: one training)"
        if once
        else f" ({text})"
    )


SINGLE = 0.6  # points, of the line of one training
# Columns of a history that are no terms of the loss; spread: of latents over images, a measure of collapse.
NO_TERMS = ("seed", "epoch", "loss", "lr", "grad_norm", "spread")


def histories(results: Results) -> dict[str, pd.DataFrame]:
    """Return the pre-training history by label; untrained and imported arms are left out.

    Returns: label -> seed, epoch, loss, named terms of the loss and other measures, lr, grad_norm
    Raises StudyError naming a file that is missing or has no column epoch or loss.
    """
    tables = {results.label(arm): results.history(arm) for arm in results.arms}
    return {label: table for label, table in tables.items() if len(table)}


def loss_parts(history: pd.DataFrame) -> list[str]:
    """Return the named terms of the loss in a history, in file order."""
    return [name for name in history if name not in NO_TERMS]


def loss_figure(histories: Mapping[str, pd.DataFrame], *, inks: Inks) -> Figure:
    """Draw the pre-training loss by epoch, one panel per label; the terms of a sum are dotted.

    Every panel has its own scale, because losses of different objectives are not comparable.
    """
    with styled():
        figure, axes = panels(len(histories), height=2.6, columns=3)
        ends = []
        for axis, (label, history) in zip(axes, histories.items(), strict=True):
            ink = inks[label]
            whole = history.drop(columns="seed").groupby("epoch").mean()
            if history["seed"].nunique() > 1:
                for _, run in history.groupby("seed", sort=False):
                    axis.plot(run["epoch"], run["loss"], color=ink.colour, linewidth=SINGLE, alpha=0.6)
            axis.plot(whole["loss"], color=ink.colour, marker=ink.marker if len(whole) < 30 else "")
            parts = [part for part in loss_parts(history) if not history[part].equals(history["loss"])]
            for part in parts:
                axis.plot(whole[part], color=ink.colour, linestyle=":", linewidth=1.3)
            shown = ["loss", *parts] if parts else []
            ends.append([(part, float(whole.index[-1]),
                          float(whole[part].iloc[-1]), ink.colour) for part in shown])  # fmt: skip
            title_of(axis, label, ink)
            axis.set_xlabel("epoch")
            whole_ticks(axis)
        for axis in axes[::3]:
            axis.set_ylabel("loss")
        settle(figure)
        for axis, names in zip(axes, ends, strict=True):
            label_ends(axis, names)
    return figure


def histories_rows(histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return all histories in one table: label, seed, then the columns of each."""
    parts = [history.assign(label=label) for label, history in histories.items()]
    rows = pd.concat(parts, ignore_index=True)
    return rows[["label", "seed", *rows.columns.drop(["label", "seed"])]]
