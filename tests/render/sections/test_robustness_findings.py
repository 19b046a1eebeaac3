"""Findings on corrupted images name the extremes of the tables."""

import pandas as pd

from stages.render.sections.robustness_findings import noise_findings, trial_findings


def test_noise_findings_name_the_worst_band_of_every_arm() -> None:
    rows = [
        ("CL", "linear", "shape", 0.2, 50.0),
        ("CL", "linear", "shape", 0.8, 90.0),
        ("MIM", "linear", "shape", 0.2, 80.0),
        ("MIM", "linear", "shape", 0.8, 88.0),
        ("MIM", "fine-tuned", "class", 0.2, 60.0),
    ]
    curves = pd.DataFrame(rows, columns=["label", "head", "labels", "frequency", "mean"])
    curves = curves.assign(low=curves["mean"] - 2, high=curves["mean"] + 2)
    assert noise_findings(curves) == (
        "Most harmful band of noise by arm, with the share of the clean accuracy that is kept. Linear probe, "
        "shape: CL 0.2 π (50 [48, 52] %) and MIM 0.2 π (80 [78, 82] %). Fine-tuned: MIM 0.2 π "
        "(60 [58, 62] %)."
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
    without = trial_findings(accuracy, stimuli=["patch_shuffle"])
    assert without.endswith("Linear probe, shape: silhouette (−25.0 points).")
