"""Caption, alternative text and findings of probing against fine-tuning."""

import pandas as pd

from stages.render.figures.captions import alt_text, bands, extremes
from stages.render.figures.trade_off import both_ways
from stages.render.words import listed, on_set, signed
from stages.results.study_results import AUGMENTED, FINE_TUNED

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
    """Return the arms with the highest and the lowest accuracy, in probing and after fine-tuning.

    accuracies: as `accuracies.accuracies` returns them
    """
    sentences = []
    sets, augmented = (both_ways(accuracies, probe=name) for name in (probe, AUGMENTED))
    for labels, points in sets.items():
        where = on_set(labels)
        rows = accuracies[accuracies["labels"] == labels]
        for evaluation, words in ((probe, f"In the {probe} probe"), (FINE_TUNED, "After fine-tuning")):
            chosen = rows[rows["evaluation"] == evaluation].set_index("label")
            highest = extremes(100 * chosen[["mean", "low", "high"]], unit="%")
            sentences.append(f"{words}{where}, accuracy is highest for {highest}.")
        if labels in augmented:
            gains = 100 * (augmented[labels]["probed"] - points["probed"]).dropna()
            changes = listed(f"{label} {signed(gain)}" for label, gain in gains.items())
            sentences.append(f"With augmented images, the probe{where} changes by these points: {changes}.")
    return " ".join(sentences)


def trade_off_alt(accuracies: pd.DataFrame, *, probe: str) -> str:
    """Return the alternative text of probing against fine-tuning."""
    return alt_text(f"Scatter plots of fine-tuning against {probe}-probe accuracy, beside the paper.",
                    accuracies["label"])  # fmt: skip
