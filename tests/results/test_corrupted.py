"""Accuracy on corrupted images: paired with the clean ones, seed by seed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.results.corrupted import accuracy_by_trial, changes, noise_curves, shape_bias
from stages.results.study_results import Results
from stages.study.errors import StudyError
from tests.render.synthetic import study_of, write_csv

NOISE = {"frequency_noise": {"levels": [0.5, 1.0], "width": 0.5, "amplitudes": [0.1, 0.2]}}


def frame(hits, *, trial="clean", level=0.0, amplitude=0.0, seed=0):
    """Decisions of one head and label set, right where `hits` is 1."""
    hits = np.asarray(hits)
    table = pd.DataFrame({"image": np.arange(len(hits)), "truth": 1, "predicted": np.where(hits, 1, 2)})
    table = table.assign(amplitude=amplitude)
    return table.assign(seed=seed, trial=trial, level=level, head="linear", labels="class", rival=-1)


@pytest.fixture
def results_of(tmp_path: Path):
    """Results of one arm from these tables."""

    def results_of(*tables: pd.DataFrame, corruptions: dict[str, Any] | None = None) -> Results:
        whole = pd.concat(tables)
        write_csv(tmp_path / "results/robustness/cl.csv", whole)
        seeds = sorted(whole["seed"].unique().tolist())
        study = study_of({"cl": "contrastive"}, seeds=seeds)
        settings = study.robustness.model_dump() | {"corruptions": corruptions or {}}
        return Results(study_of({"cl": "contrastive"}, seeds=seeds, robustness=settings), tmp_path)

    return results_of


def test_what_is_kept_under_noise_is_relative_to_the_same_images_and_the_mean_over_amplitudes(results_of):
    clean = frame([1, 1, 0, 1, 0])
    noisy = [
        frame(hits, trial="frequency_noise", level=level, amplitude=amplitude)  # four of the five images
        for level, amplitude, hits in (
            (0.5, 0.1, [1, 1, 0, 1]), (0.5, 0.2, [1, 0, 0, 0]),
            (1.0, 0.1, [1, 1, 1, 1]), (1.0, 0.2, [0, 1, 0, 1]),
        )
    ]  # fmt: skip
    shuffled = pd.concat([clean, *noisy]).sample(frac=1, random_state=0)
    curves = noise_curves(results_of(shuffled, corruptions=NOISE))
    curves = curves.sort_values("frequency")
    assert curves["mean"].tolist() == pytest.approx([100 * (2 / 4) / (3 / 4), 100])
    assert curves["frequency"].tolist() == [0.25, 0.75] and set(curves["images"]) == {4}
    noisy = clean.assign(trial="frequency_noise", level=1.0, amplitude=0.1)
    same = noise_curves(results_of(clean, noisy, corruptions=NOISE))
    assert same[["mean", "low", "high"]].to_numpy() == pytest.approx(100)
    assert noise_curves(results_of(clean, corruptions=NOISE)).empty
    nothing = frame([0, 0])
    noisy = nothing.assign(trial="frequency_noise", level=1.0)
    assert noise_curves(results_of(nothing, noisy, corruptions=NOISE)).empty


def test_the_centre_of_a_band_follows_from_its_width(results_of):
    noisy = frame([1, 0], trial="frequency_noise", level=1.0, amplitude=0.1)
    narrow = {"frequency_noise": NOISE["frequency_noise"] | {"levels": [1.0], "width": 0.2}}
    curves = noise_curves(results_of(frame([1, 1]), noisy, corruptions=narrow))
    assert curves["frequency"].tolist() == pytest.approx([0.9])
    assert noise_curves(results_of(frame([1, 1]))).empty  # a study without this corruption


def test_seeds_are_paired_with_their_own_clean_images(results_of):
    tables = [frame([1, 1, 1, 1]), frame([1, 1, 0, 0], trial="edges", level=1.0)]
    tables += [frame([0, 0, 0, 1], seed=3), frame([1, 1, 0, 1], trial="edges", level=1.0, seed=3)]
    change = changes(results_of(*tables), trial="edges").iloc[0]
    assert (change["seed_0"], change["seed_3"], change["mean"]) == (-50, 50, 0)
    assert change["high"] == pytest.approx(12.7062 * 50, rel=1e-4) and change["trainings"] == 2


def test_accuracy_is_the_mean_over_seeds(results_of):
    accuracy = accuracy_by_trial(results_of(frame([1, 1, 0, 0]), frame([1, 1, 1, 0], seed=1)))
    assert accuracy["mean"].tolist() == [0.625] and accuracy["images"].tolist() == [4]


def test_seeds_that_saw_other_images_are_refused(results_of):
    with pytest.raises(StudyError, match=r"cl\.csv: seeds were tested on different images under clean"):
        accuracy_by_trial(results_of(frame([1, 1, 0]), frame([1, 1], seed=1)))


def test_shape_bias_leaves_out_other_decisions_and_agreeing_cues(results_of):
    rows = [(0, 1, 0), (1, 0, 0), (2, 1, 0), (0, 0, 0), (1, 2, 1)]
    table = pd.DataFrame(rows, columns=["truth", "rival", "predicted"]).assign(
        image=range(5), trial="cue_conflict", level=0.0, amplitude=0.0, head="linear", labels="shape", seed=0
    )
    bias = shape_bias(results_of(table)).iloc[0]
    assert bias["mean"] == pytest.approx(2 / 3) and bias["decisions"] == 3 and bias["images"] == 4
    assert bias["low"] <= bias["mean"] <= bias["high"]
    again = table.assign(seed=1, predicted=table["truth"])
    both = shape_bias(results_of(table, again)).iloc[0]
    assert (both["seed_0"], both["seed_1"]) == (pytest.approx(2 / 3), 1)
