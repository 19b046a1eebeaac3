"""Caption and alternative text of probing against fine-tuning."""

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.paper import methods
from stages.render.figures.trade_off import both_ways
from stages.render.words import fixed, listed, on_set
from stages.results.study_results import AUGMENTED

POINTS = ("Points", "small points", "bars")


def trade_off_caption(accuracies: pd.DataFrame, *, probe: str) -> str:
    """Caption of probing against fine-tuning.

    accuracies: as `accuracies.accuracies` gives them
    """
    shapes = "; triangles: probe of augmented images" if AUGMENTED in set(accuracies["evaluation"]) else ""
    return (
        f"Frozen features ({probe} probe) against fine-tuning{shapes}. {bands(accuracies, marks=POINTS)} "
        "Grey: the paper, published ViT-B by their own recipes (triangles), their last block by one recipe "
        "(circles), and the hybrid."
    )


def trade_off_findings(accuracies: pd.DataFrame, *, probe: str) -> str:
    """What probing against fine-tuning shows, on each label set, beside the paper's ViT-B.

    accuracies: as `accuracies.accuracies` gives them
    """
    sets, augmented = (both_ways(accuracies, probe=name) for name in (probe, AUGMENTED))
    said = []
    for labels, points in sets.items():
        where = on_set(labels)
        winners = [
            f"{points[way].idxmax()} ({fixed(100 * points[way].max(), decimals=1)} %)"
            for way in ("probed", "tuned")
        ]
        said.append(f"Best{where}: {winners[0]} in the {probe} probe, {winners[1]} fine-tuned.")
        if len(points) > 1:
            alike = _agreement(points["probed"].tolist(), points["tuned"].tolist())
            said.append(f"Probing and fine-tuning put {alike} of arms in the same order{where}.")
        if labels in augmented:
            gains = 100 * (augmented[labels]["probed"] - points["probed"]).dropna()
            told = listed(f"{label} {_signed(gain)}" for label, gain in gains.items())
            said.append(f"Augmented images change the probe{where} by, in points: {told}.")
    theirs = methods()
    alike = _agreement([point.linear for point in theirs], [point.finetuned for point in theirs])
    return f"{' '.join(said)} In the paper's Fig. 1 left it is {alike} of methods."


def trade_off_alt(accuracies: pd.DataFrame, *, probe: str) -> str:
    """Alternative text of probing against fine-tuning."""
    return alt_text(f"Scatter charts of fine-tuned accuracy against {probe} probe, with the paper's.",
                    accuracies["label"])  # fmt: skip


def _agreement(one: Sequence[float], other: Sequence[float]) -> str:
    """How many pairs stand in the same order in both, of those that differ in both: "3 of 6 pairs"."""
    pairs = list(combinations(zip(one, other, strict=True), 2))
    signs = [(a - c) * (b - d) for (a, b), (c, d) in pairs]
    return f"{sum(sign > 0 for sign in signs)} of {sum(sign != 0 for sign in signs)} pairs"


def _signed(value: float) -> str:
    """A difference with its sign."""
    text = fixed(value, decimals=1)
    return text if text.startswith("−") else f"+{text}"
