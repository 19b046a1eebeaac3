"""Findings on corrupted images name the extremes of the tables."""

import pandas as pd

from stages.render.sections.robustness_findings import noise_findings, trial_findings


def test_noise_findings_name_both_extremes_and_the_worst_band() -> None:
    rows = [
        ("CL", "linear", "shape", 0.2, 50.0),
        ("CL", "linear", "shape", 0.8, 90.0),
        ("MIM", "linear", "shape", 0.2, 80.0),
        ("MIM", "linear", "shape", 0.8, 88.0),
        ("MIM", "fine-tuned", "class", 0.2, 60.0),
    ]
    curves = pd.DataFrame(rows, columns=["label", "head", "labels", "frequency", "mean"])
    assert noise_findings(curves) == (
        "Share of the clean accuracy kept under noise, mean over frequency bands. Linear probe, shape: MIM "
        "keeps the most (84 %), CL the least (70 %); the most harmful band is at 0.2 π. "
        "Fine-tuned: MIM keeps 60 %."
    )
    assert noise_findings(curves[:0]) == ""


def test_trial_findings_name_the_corruption_with_the_largest_mean_loss() -> None:
    rows = [
        ("CL", "linear", "shape", "clean", 0.0, 0.9),
        ("CL", "linear", "shape", "silhouette", 0.0, 0.5),
        ("CL", "linear", "shape", "patch_shuffle", 4.0, 0.6),
        ("MIM", "linear", "shape", "clean", 0.0, 0.8),
        ("MIM", "linear", "shape", "silhouette", 0.0, 0.7),
        ("MIM", "linear", "shape", "patch_shuffle", 4.0, 0.5),
        ("MIM", "fine-tuned", "shape", "clean", 0.0, 0.5),
    ]
    accuracy = pd.DataFrame(rows, columns=["label", "head", "labels", "trial", "level", "mean"])
    assert trial_findings(accuracy) == (
        "Most harmful corruption, mean over arms. Linear probe, shape: 4 × 4 tiles shuffled (−30.0 points)."
    )
    assert trial_findings(accuracy[-1:]) == ""
