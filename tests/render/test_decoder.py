"""Frequencies through a decoder: the line goes on where the encoder ends."""

from pathlib import Path

import pandas as pd
import pytest

from stages.render import paper
from stages.render.decoder import decoder_alt, decoder_caption, decoder_curves, decoder_figure
from stages.render.style import palette
from stages.render.tables import block_curves
from stages.study.errors import StudyError
from stages.study.settings import Arm
from tests.render.synthetic import write_arm

ARMS = {
    "cl": Arm(objective="contrastive", label="CL"),
    "mae": Arm(objective="autoencoder", label="MAE"),
    "mae_2": Arm(objective="autoencoder", label="MAE", seed=1),
}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, (name, arm) in enumerate(ARMS.items()):
        write_arm(tmp_path, name, arm.objective, seed=seed)
    monkeypatch.chdir(tmp_path)


def test_only_arms_with_a_decoder_are_drawn_and_go_on_where_their_encoder_ends() -> None:
    curves = decoder_curves(ARMS)
    assert set(curves["label"]) == {"MAE"} and set(curves["arms"]) == {2}
    assert curves[curves["part"] == "encoder"]["place"].tolist() == [0, 1, 2, 3]
    assert curves[curves["part"] == "decoder"]["place"].tolist() == [3, 4, 5]
    raw = pd.concat([pd.read_csv(f"results/analysis/fourier/{name}.csv") for name in ("mae", "mae_2")])
    raw = raw[(raw["part"] == "decoder") & (raw["block"] == 2) & (raw["frequency"] == 0.75)]
    assert curves["mean"].iloc[-1] == pytest.approx(raw["log_amplitude"].mean())
    figure = decoder_figure(curves, inks=palette(ARMS), paper=paper.with_decoder())
    assert len(figure.axes) == 2 and len(figure.axes[1].lines) == 2
    assert "carries less of it" in decoder_caption(curves, paper=paper.with_decoder())
    assert decoder_alt(curves).count("MAE, ") == 2
    assert decoder_curves({"cl": ARMS["cl"]}).empty


def test_the_encoder_is_all_that_other_figures_read() -> None:
    curves = block_curves(ARMS, analysis="fourier", measure="log_amplitude", highest_frequency=True)
    raw = pd.read_csv("results/analysis/fourier/cl.csv").query("frequency == 0.75 and block == 3")
    assert curves[curves["label"] == "CL"]["mean"].iloc[-1] == pytest.approx(raw["log_amplitude"].mean())
    assert curves[curves["label"] == "MAE"]["block"].tolist() == [0, 1, 2, 3]


def test_replicates_of_which_one_has_no_decoder_are_one_line() -> None:
    path = Path("results/analysis/fourier/mae.csv")
    table = pd.read_csv(path)
    table[table["part"] == "encoder"].to_csv(path, index=False)
    with pytest.raises(StudyError, match="differ in having a decoder"):
        decoder_curves(ARMS)
