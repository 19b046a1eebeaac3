"""The figure of the shape bias shows every test and arm."""

import pandas as pd
import pytest

from stages.render.figures.shape_bias import bias_alt, bias_caption, bias_figure
from stages.render.figures.style import palette
from tests.render.synthetic import study_of


def test_one_panel_per_test_on_the_whole_scale() -> None:
    study = study_of({"random": "random", "cl": "contrastive"}, labels={"random": "R", "cl": "CL"})
    bias = pd.DataFrame(
        [
            {"label": label, "head": "linear", "trial": trial, "mean": mean, "low": mean - 0.1}
            | {"high": mean + 0.1, "trainings": 1, "decisions": 50, "images": 80}
            for trial in ("cue_conflict", "stimuli")
            for label, mean in (("R", 0.6), ("CL", 0.3))
        ]
    )
    figure = bias_figure(bias, inks=palette(study))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Cue conflict, linear", "Stimuli, linear"]
    assert {axis.get_xlim() for axis in figure.axes} == {(0, 100)}
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert dots == pytest.approx([60, 30])
    assert "80 images" in bias_caption(bias) and "Arms: R and CL." in bias_alt(bias)
