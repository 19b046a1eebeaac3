"""Figures and numbers of the images that the arms were not made for."""

import numpy as np
import pandas as pd
import pytest

from stages.render import robustness
from stages.render.style import palette
from stages.study.errors import StudyError
from stages.study.params import load_params
from tests.render.synthetic import decided, make_project


@pytest.fixture
def study(tmp_path, monkeypatch):
    make_project(tmp_path, images=40)
    monkeypatch.chdir(tmp_path)
    return load_params().arms


def frame(hits, *, trial="clean", level=0.0):
    """Decisions of one head and label set, right where `hits` is 1."""
    hits = np.asarray(hits)
    table = pd.DataFrame({"image": np.arange(len(hits)), "truth": 1, "predicted": np.where(hits, 1, 2)})
    return table.assign(trial=trial, level=level, head="linear", labels="class", rival=-1)


def test_the_change_under_noise_is_paired_with_the_clean_images():
    clean = frame([1, 1, 1, 0])
    noisy = [frame([1, 0, 1, 0], trial="frequency_noise", level=level) for level in (0.5, 1.0)]
    shuffled = pd.concat([clean, *noisy]).sample(frac=1, random_state=0)
    curves = robustness.noise_curves({"CL": [shuffled]})
    assert curves["mean"].tolist() == pytest.approx([-25, -25])
    assert sorted(curves["frequency"]) == [0.25, 0.75]
    same = robustness.noise_curves(
        {"CL": [pd.concat([clean, clean.assign(trial="frequency_noise", level=1.0)])]}
    )
    assert same[["mean", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]]


def test_shape_bias_leaves_out_other_decisions_and_agreeing_cues():
    rows = [(0, 1, 0), (1, 0, 0), (2, 1, 0), (0, 0, 0), (1, 2, 1)]
    table = pd.DataFrame(rows, columns=["truth", "rival", "predicted"]).assign(
        image=range(5), trial="cue_conflict", level=0.0, head="linear", labels="shape"
    )
    bias = robustness.shape_bias({"CL": [table]}).iloc[0]
    assert bias["mean"] == pytest.approx(2 / 3) and bias["decisions"] == 3 and bias["images"] == 4
    assert bias["low"] <= bias["mean"] <= bias["high"]


def test_accuracy_of_replicates_is_their_mean():
    found = robustness.accuracy_by_trial({"CL": [frame([1, 1, 0, 0]), frame([1, 1, 1, 0])]})
    assert found["mean"].tolist() == [0.625] and found["images"].tolist() == [4]


def test_figures_show_every_arm_and_their_words_give_the_numbers(study):
    seen = robustness.decisions(study)
    accuracy = robustness.accuracy_by_trial(seen)
    inks, noise = palette(study), robustness.noise_curves(seen)
    figure = robustness.noise_figure(noise, inks=inks)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "Linear probe, shape", "Linear probe, texture", "Fine-tuned, shape", "Fine-tuned, texture"
    ]  # fmt: skip
    assert all(len(axis.lines) >= len(study) for axis in figure.axes)
    for label in inks:
        assert label in robustness.noise_alt(noise) and label in robustness.trial_alt(accuracy)
        assert label in robustness.noise_caption(noise)
    row = accuracy[(accuracy["trial"] == "edges") & (accuracy["labels"] == "shape")].iloc[0]
    said = f"{row['label']} {100 * row['mean']:.0f} %"
    assert f"Linear probe, shape, edges: {said}" in robustness.trial_alt(accuracy)
    assert len(robustness.trial_figure(accuracy, inks=inks).axes) == 4
    bias = robustness.bias_rows(robustness.shape_bias(seen))
    assert list(bias.index) == list(inks) and "decisions" in bias.iloc[0, 0]


def test_a_missing_table_is_named_with_the_stage_that_writes_it(study, tmp_path):
    (tmp_path / "results/robustness/mim.csv").unlink()
    with pytest.raises(StudyError, match=r"mim\.csv: not found; `dvc repro robustness@mim` writes it"):
        robustness.decisions(study)


def test_made_up_decisions_are_right_as_often_as_they_are_told():
    table = decided(0.7, np.random.default_rng(0), images=4000)
    assert (table["truth"] == table["predicted"]).mean() == pytest.approx(0.7, abs=0.03)
