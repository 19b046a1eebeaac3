"""The curve of a decoder continues that of its encoder."""

from pathlib import Path

import pandas as pd
import pytest

from stages.render.figures import paper
from stages.render.figures.decoder import decoder_alt, decoder_caption, decoder_curves, decoder_figure
from stages.render.figures.style import palette
from stages.results.analysis_curves import block_curves
from stages.results.study_results import Results
from stages.study.errors import StudyError
from tests.render.synthetic import study_of, write_study

STUDY = study_of({"cl": "contrastive", "mae": "autoencoder"}, labels={"cl": "CL", "mae": "MAE"})


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path, STUDY)


def test_only_arms_with_a_decoder_are_drawn(results: Results) -> None:
    curves = decoder_curves(results)
    assert set(curves["label"]) == {"MAE"} and set(curves["trainings"]) == {2}
    assert curves[curves["part"] == "encoder"]["place"].tolist() == [0, 1, 2, 3]
    assert curves[curves["part"] == "decoder"]["place"].tolist() == [3, 4, 5]
    raw = pd.read_csv("results/analysis/fourier/mae.csv")
    raw = raw[(raw["part"] == "decoder") & (raw["block"] == 2) & (raw["frequency"] == 0.75)]
    assert curves["mean"].iloc[-1] == pytest.approx(raw["log_amplitude"].mean())
    figure = decoder_figure(curves, inks=palette(STUDY), paper=paper.with_decoder())
    assert len(figure.axes) == 2 and len(figure.axes[1].lines) == 2
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert decoder_caption(curves, paper=paper.with_decoder()).endswith("(Fig. 11; read from pixels, ±0.03).")
    assert "Arms: MAE." in decoder_alt(curves)
    assert decoder_curves(Results(study_of({"cl": "contrastive"}), results.root)).empty


def test_other_figures_read_only_the_encoder(results: Results) -> None:
    curves = block_curves(results, analysis="fourier", measure="log_amplitude", highest_frequency=True)
    raw = pd.read_csv("results/analysis/fourier/cl.csv").query("frequency == 0.75 and block == 3")
    assert curves[curves["label"] == "CL"]["mean"].iloc[-1] == pytest.approx(raw["log_amplitude"].mean())
    assert curves[curves["label"] == "MAE"]["block"].tolist() == [0, 1, 2, 3]


def test_seeds_that_differ_in_having_a_decoder_are_one_line(results: Results) -> None:
    path = Path("results/analysis/fourier/mae.csv")
    table = pd.read_csv(path)
    table[(table["part"] == "encoder") | (table["seed"] == 1)].to_csv(path, index=False)
    with pytest.raises(StudyError, match=r"mae\.csv: only some seeds have a decoder"):
        decoder_curves(results)
