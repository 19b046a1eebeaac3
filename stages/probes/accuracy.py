"""Accuracy with its interval, and the tables of predictions of probes and fine-tuning."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def wilson_interval(correct: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion, which contains the proportion despite rounding.

    Source: Wilson 1927.
    """
    share = correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return min(share, max(0.0, centre - reach)), max(share, min(1.0, centre + reach))


def summarize(predicted: np.ndarray, truth: np.ndarray, *, classes: int) -> dict[str, Any]:
    """Return the accuracy, its interval, the number of images and the chance level.

    predicted, truth: (n,) class indices
    """
    correct = int((predicted == truth).sum())
    low, high = wilson_interval(correct, len(truth))
    return {
        "accuracy": correct / len(truth),
        "low": low,
        "high": high,
        "images": len(truth),
        "chance": 1 / classes,
    }


def evaluated(
    predictions: Mapping[str, np.ndarray],
    choice: Mapping[str, float],
    truth: np.ndarray,
    *,
    classes: int,
    labels: str,
    varies: str,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the metrics and the predictions of a probe with several variants, such as poolings or blocks.

    predictions: variant -> (n,) class indices
    choice:      variant -> validation accuracy; the best variant is chosen
    truth:       (n,)
    labels:      name of the label set
    varies:      what the variants are: pooling, block, share
    returns:     metrics of the chosen variant, its `validation` accuracy, and metrics of all variants; a row
                 per image and variant
    """
    chosen = max(choice, key=lambda key: choice[key])
    results = {key: summarize(predicted, truth, classes=classes) for key, predicted in predictions.items()}
    tables = [
        prediction_table(predicted, truth, labels=labels, pooling=key)
        .rename(columns={"pooling": varies})
        .assign(chosen=key == chosen)
        for key, predicted in predictions.items()
    ]
    about = {varies: chosen, "validation": choice[chosen], f"by_{varies}": results}
    return results[chosen] | about, pd.concat(tables)


def prediction_table(predicted: np.ndarray, truth: np.ndarray, *, labels: str, pooling: str) -> pd.DataFrame:
    """Return a row per image: image, labels, pooling, truth, predicted."""
    return pd.DataFrame(
        {
            "image": np.arange(len(truth)),
            "labels": labels,
            "pooling": pooling,
            "truth": truth,
            "predicted": predicted,
        }
    )
