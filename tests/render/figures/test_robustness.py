"""Figures and numbers of the images that the arms were not made for."""

import numpy as np
import pytest

from stages.render.figures import robustness
from stages.render.figures.style import palette
from stages.render.sections.robustness import bias_rows
from stages.results.corrupted import accuracy_by_trial, noise_curves, shape_bias
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.params import load_params
from tests.render.synthetic import make_project
from tests.render.synthetic_tables import decided


@pytest.fixture
def results(tmp_path, monkeypatch):
    make_project(tmp_path, images=40)
    monkeypatch.chdir(tmp_path)
    return Results(load_params())


def test_figures_and_their_words_show_every_arm(results):
    accuracy = accuracy_by_trial(results)
    inks, noise = palette(results.study), noise_curves(results)
    figure = robustness.noise_figure(noise, inks=inks)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "Linear probe, shape", "Linear probe, texture", "Fine-tuned, shape", "Fine-tuned, texture"
    ]  # fmt: skip
    # A line an arm, and a thin one for each training of the three arms that have two.
    assert all(len(axis.lines) == 4 + 6 + 1 for axis in figure.axes)
    for label in inks:
        assert label in robustness.noise_alt(noise) and label in robustness.trial_alt(accuracy)
    assert "mean over 2 trainings" in robustness.noise_caption(noise)
    assert "Dots: mean over 2 trainings" in robustness.trial_caption(accuracy)
    assert len(robustness.trial_figure(accuracy, inks=inks).axes) == 4
    bias = bias_rows(shape_bias(results))
    assert list(bias.index) == list(inks) and "decisions" in bias.iloc[0, 0]


def test_a_missing_table_is_named_with_the_stage_that_writes_it(results, tmp_path):
    (tmp_path / "results/robustness/mim.csv").unlink()
    with pytest.raises(StudyError, match=r"mim\.csv: not found; `dvc repro robustness@mim` writes it"):
        accuracy_by_trial(results)


def test_made_up_decisions_are_right_as_often_as_they_are_told():
    table = decided(0.7, np.random.default_rng(0), images=4000)
    assert (table["truth"] == table["predicted"]).mean() == pytest.approx(0.7, abs=0.03)
