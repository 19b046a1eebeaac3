"""Caption, alternative text and findings of probing against fine-tuning."""

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.paper import methods
from stages.render.figures.trade_off import both_ways
from stages.render.words import fixed, listed, on_set, signed
from stages.results.study_results import AUGMENTED

POINTS = ("Large points", "small points", "bars")


def trade_off_caption(accuracies: pd.DataFrame, *, probe: str) -> str:
    """Return the caption of probing against fine-tuning.

    accuracies: as `accuracies.accuracies` returns them
    """
    shapes = "; triangles: probe of augmented images" if AUGMENTED in set(accuracies["evaluation"]) else ""
    return (
        f"Fine-tuning accuracy against {probe}-probe accuracy{shapes}. {bands(accuracies, marks=POINTS)} "
        "Grey: the paper: ViT-B with published recipes (triangles), last blocks with one recipe (circles), "
        "and the hybrid."
    )


def trade_off_findings(accuracies: pd.DataFrame, *, probe: str) -> str:
    """Return the best arms by probing and fine-tuning for each label set, and how often both agree.

    accuracies: as `accuracies.accuracies` returns them
    """
    sets, augmented = (both_ways(accuracies, probe=name) for name in (probe, AUGMENTED))
    sentences = []
    for labels, points in sets.items():
        where = on_set(labels)
        winners = [
            f"{points[way].idxmax()} with {fixed(100 * points[way].max(), decimals=1)} %"
            for way in ("probed", "tuned")
        ]
        sentences.append(
            f"Most accurate arm{where}: {winners[0]} in the {probe} probe, {winners[1]} after fine-tuning."
        )
        if len(points) > 1:
            alike = _agreement(points["probed"].tolist(), points["tuned"].tolist())
            sentences.append(f"Probing and fine-tuning agree on the order of {alike} of arms{where}.")
        if labels in augmented:
            gains = 100 * (augmented[labels]["probed"] - points["probed"]).dropna()
            changes = listed(f"{label} {signed(gain)}" for label, gain in gains.items())
            sentences.append(f"With augmented images, the probe{where} changes by these points: {changes}.")
    published = methods()
    alike = _agreement([point.linear for point in published], [point.finetuned for point in published])
    return f"{' '.join(sentences)} In Fig. 1 left of the paper, they agree on {alike} of methods."


def trade_off_alt(accuracies: pd.DataFrame, *, probe: str) -> str:
    """Return the alternative text of probing against fine-tuning."""
    return alt_text(f"Scatter plots of fine-tuning against {probe}-probe accuracy, beside the paper.",
                    accuracies["label"])  # fmt: skip


def _agreement(one: Sequence[float], other: Sequence[float]) -> str:
    """Return how many pairs have the same order in both lists, for example "3 of 6 pairs", without ties."""
    pairs = list(combinations(zip(one, other, strict=True), 2))
    signs = [(a - c) * (b - d) for (a, b), (c, d) in pairs]
    return f"{sum(sign > 0 for sign in signs)} of {sum(sign != 0 for sign in signs)} pairs"
