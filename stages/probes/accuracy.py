"""Accuracy with its interval, and the tables that a probe or a fine-tuning leaves behind."""

import math
from typing import Any

import numpy as np
import pandas as pd


def wilson_interval(correct: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % score interval of a proportion.

    Source: Wilson 1927.
    """
    share = correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def summarize(predicted: np.ndarray, truth: np.ndarray, *, classes: int) -> dict[str, Any]:
    """Accuracy, its interval, the number of images and the accuracy of guessing.

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


def prediction_table(predicted: np.ndarray, truth: np.ndarray, *, labels: str, pooling: str) -> pd.DataFrame:
    """One row an image: image, labels, pooling, truth, predicted."""
    return pd.DataFrame(
        {
            "image": np.arange(len(truth)),
            "labels": labels,
            "pooling": pooling,
            "truth": truth,
            "predicted": predicted,
        }
    )
