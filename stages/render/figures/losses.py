"""How the pre-training went: the loss of every arm by epoch."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.line_charts import Inks, panels, title_of, whole_ticks
from stages.render.figures.name_placing import label_ends, settle
from stages.render.figures.style import styled
from stages.render.words import listed, number
from stages.results.study_results import Results


def loss_caption(histories: Mapping[str, pd.DataFrame]) -> str:
    """Caption of the pre-training losses: how far each fell.

    histories: as `outcomes.histories` gives them
    """
    return (
        f"Pre-training loss per epoch{_trainings(histories)}; every panel has its own scale, because the "
        "losses "
        f"of different objectives are different quantities. {_falls(histories)}"
    )


def loss_alt(histories: Mapping[str, pd.DataFrame]) -> str:
    """Alternative text of the pre-training losses: first and last value of each."""
    if not histories:
        return f"An empty chart of the pre-training loss. {_falls(histories)}"
    ends = {label: _ends(history) for label, history in histories.items()}
    falls = {label: last / first for label, (first, last) in ends.items()}
    most = min(falls, key=lambda label: falls[label])
    return (
        f"The loss of {most} falls most, to {number(100 * falls[most], digits=2)} % of its first epoch. "
        f"A line chart of the pre-training loss against epoch for each trained arm. {_falls(histories)}"
    )


def _trainings(histories: Mapping[str, pd.DataFrame]) -> str:
    """Over how many trainings each history is averaged, in brackets."""
    counts = {label: history["seed"].nunique() for label, history in histories.items()}
    several = sorted({count for count in counts.values() if count > 1})
    once = [label for label, count in counts.items() if count == 1]
    if not several:
        return " (one training an arm)"
    text = f"mean over {listed(map(str, several))} trainings, thin lines: each training"
    return f" ({text}; {listed(once)}: one training)" if once else f" ({text})"


def _falls(histories: Mapping[str, pd.DataFrame]) -> str:
    said = []
    for label, history in histories.items():
        first, last = _ends(history)
        said.append(f"{label}: {number(first)} in the first epoch, {number(last)} in the last")
    return "; ".join(said) + "." if said else "No arm was trained."


def _ends(history: pd.DataFrame) -> tuple[float, float]:
    """The loss of the first and of the last epoch, mean over trainings."""
    means = history.groupby("epoch")["loss"].mean()
    return float(means.iloc[0]), float(means.iloc[-1])


SINGLE = 0.6  # points, of the line of one training


def histories(results: Results) -> dict[str, pd.DataFrame]:
    """Pre-training history by label; arms that were never trained are left out.

    returns: label -> seed, epoch, loss, named parts of the loss, lr, grad_norm
    Raises StudyError naming a file that is missing or has no column epoch or loss.
    """
    tables = {results.label(arm): results.history(arm) for arm in results.arms}
    return {label: table for label, table in tables.items() if len(table)}


def loss_parts(history: pd.DataFrame) -> list[str]:
    """The named parts of the loss in a history, in file order."""
    return [name for name in history if name not in ("seed", "epoch", "loss", "lr", "grad_norm")]


def loss_figure(histories: Mapping[str, pd.DataFrame], *, inks: Inks) -> Figure:
    """Pre-training loss per epoch, a panel per label with a scale of its own; the parts of a sum are dotted.

    Losses of different objectives are different quantities, so no panel shares its scale with another.
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
            ends.append([(part if part != "loss" else "sum", float(whole.index[-1]),
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
    """All histories in one table: label, seed, then the columns of each."""
    parts = [history.assign(label=label) for label, history in histories.items()]
    rows = pd.concat(parts, ignore_index=True)
    return rows[["label", "seed", *rows.columns.drop(["label", "seed"])]]
