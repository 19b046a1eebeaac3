"""Movement and spread of tokens match the tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.render.figures.singular_values import (
    ERRORS,
    LEVELS,
    SCALARS,
    rank_alt,
    rank_caption,
    rank_curves,
    rank_figure,
    rank_rows,
    spectra,
    spectrum_alt,
    spectrum_caption,
    spectrum_figure,
    unison_caption,
    unison_curves,
)
from stages.render.figures.style import palette
from stages.render.figures.token_movement import (
    movement_alt,
    movement_caption,
    movement_figure,
    movements,
    patch_counts,
)
from stages.render.page.figure_card import image_bytes
from stages.results.study_results import Results
from stages.study.errors import StudyError
from tests.render.synthetic import study_of, write_study

STUDY = study_of(
    {"random": "random", "cl": "contrastive", "mim": {"objective": "masked", "seeds": [0]}},
    labels={"random": "Random init", "cl": "CL", "mim": "MIM"},
)
TABLE = Path("results/analysis/singular_values")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("singular")
    write_study(folder, STUDY)
    return folder


@pytest.fixture
def results(study: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(study)
    return Results(STUDY)


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(TABLE / f"{name}.csv")


def test_unison_is_the_mean_over_images_and_seeds(results: Results) -> None:
    curves = unison_curves(results)
    pooled = table("cl")
    expected = pooled[pooled["measure"] == "unison"].groupby("block")["value"].mean()
    ours = curves[curves["label"] == "CL"]
    np.testing.assert_allclose(ours["mean"], expected)
    assert (ours["low"] < ours["mean"]).all() and (ours["mean"] < ours["high"]).all()
    caption = unison_caption(curves, patches=[9])
    assert "1/9: they move independently" in caption and "MIM: one training" in caption


def test_ranks_are_those_after_the_self_attention(results: Results) -> None:
    token = rank_curves(results, measure="alpha", level="token")
    rows = table("mim").query("measure == 'alpha' and level == 'token' and place == 'after'")
    expected = rows.groupby("block")["value"].mean()
    np.testing.assert_allclose(token[token["label"] == "MIM"]["mean"], expected)
    assert set(token["images"]) == {12}
    image = rank_curves(results, measure="alpha", level="image")
    rows = table("mim").query("measure == 'alpha' and level == 'image' and place == 'after'")
    ours = image[image["label"] == "MIM"]
    np.testing.assert_allclose(ours["mean"], rows["value"])
    np.testing.assert_allclose(ours["high"] - ours["mean"], ERRORS["image"] * 0.1)
    assert set(image["images"]) == {24} and ours["depth"].tolist() == pytest.approx([1 / 3, 2 / 3, 1])


def test_seeds_give_the_interval_where_there_are_several(results: Results) -> None:
    image = rank_curves(results, measure="rankme", level="image")
    rows = table("cl").query("measure == 'rankme' and level == 'image' and place == 'after'")
    first, second = (rows[rows["seed"] == seed]["value"].to_numpy() for seed in (0, 1))
    ours = image[image["label"] == "CL"]
    np.testing.assert_allclose(ours["mean"], (first + second) / 2)
    np.testing.assert_allclose(ours["high"] - ours["mean"], 12.7062 * abs(first - second) / 2, rtol=1e-4)


def test_spectra_are_of_the_embedding_and_the_last_self_attention(results: Results) -> None:
    spectrum = spectra(results)
    assert len(spectrum) == 3 * 2 * 2 * 6 and set(spectrum["level"]) == set(LEVELS)
    tables = table("mim").query("measure == 'log_covariance' and level == 'token'")
    for place, block in (("before", 1), ("after", 3)):
        line = spectrum.query(f"label == 'MIM' and level == 'token' and place == '{place}'")
        expected = tables[(tables["place"] == place) & (tables["block"] == block)]
        np.testing.assert_allclose(line["mean"], expected["value"])
        np.testing.assert_allclose(line["high"] - line["mean"], 1.96 * 0.05)
    spectrum.loc[(spectrum["place"] == "before") & (spectrum["index"] > 3), "mean"] -= 40  # mere rounding
    lowest = spectrum.query("place == 'after' and index <= 4")["mean"].min()
    axis = spectrum_figure(spectrum, inks=palette(STUDY)).axes[0]
    assert lowest - 6 < axis.get_ylim()[0] < lowest
    assert "Right: mean tokens of 24 images" in spectrum_caption(spectrum) and "CL and MIM" in spectrum_alt(
        spectrum
    )


def test_movements_hold_start_and_end_of_each_token(results: Results) -> None:
    moves = movements(results)
    assert list(moves) == [0, 12] and patch_counts(moves) == [9]
    rows = moves[12]
    assert len(rows) == 3 * 3 * 9 and list(dict.fromkeys(rows["label"])) == ["Random init", "CL", "MIM"]
    raw = table("cl").query("seed == 0 and image == 12 and block == 2")  # the first training is drawn
    raw = raw.set_index(["measure", "place", "index"])["value"]
    token = rows.query("label == 'CL' and block == 2 and index == 5").iloc[0]
    assert token["x"] == raw["coordinate_1", "before", 5]
    assert token["y_after"] == raw["coordinate_2", "after", 5]
    assert token["unison"] == raw["unison", "across", 0]
    assert "one per token" in movement_alt(rows)
    assert "image 12" in movement_caption(rows, image=12)


def test_every_arrow_goes_from_before_to_after(results: Results) -> None:
    rows = movements(results)[0]
    figure = movement_figure(rows, inks=palette(STUDY))
    assert len(figure.axes) == 9
    tokens = rows[(rows["label"] == "CL") & (rows["block"] == 3)]
    strokes = figure.axes[5].lines[0].get_xydata().reshape(len(tokens), 7, 2)
    np.testing.assert_allclose(strokes[:, 0], tokens[["x", "y"]])
    np.testing.assert_allclose(strokes[:, 1], tokens[["x_after", "y_after"]])
    np.testing.assert_allclose(strokes[:, 4], strokes[:, 1])  # the tip of the head
    heads, shafts = (np.hypot(*(strokes[:, place] - strokes[:, 1]).T) for place in (3, 0))
    assert (heads < 0.5 * shafts).all() and np.isnan(strokes[:, 2]).all()
    for axis, (_, part) in zip(figure.axes[3:6], rows[rows["label"] == "CL"].groupby("block"), strict=True):
        (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
        assert (
            left <= part[["x", "x_after"]].min(axis=None) and part[["x", "x_after"]].max(axis=None) <= right
        )
        assert low <= part[["y", "y_after"]].min(axis=None) and part[["y", "y_after"]].max(axis=None) <= high


def test_one_arm_can_be_drawn_and_the_bytes_are_stable(results: Results) -> None:
    study = study_of({"mim": "masked"}, seeds=[0], labels={"mim": "MIM"})
    one, inks = Results(study), palette(study)
    curves = {(m, v): rank_curves(one, measure=m, level=v) for m in SCALARS for v in LEVELS}
    moves = movements(one)[0]
    first, again = (image_bytes(movement_figure(moves, inks=inks), form="svg") for _ in range(2))
    assert first == again
    assert len(spectrum_figure(spectra(one), inks=inks).axes) == 2
    assert len(rank_figure(curves, inks=inks).axes) == 6
    assert "Arms: MIM." in rank_alt(curves)
    assert len(rank_rows(curves)) == sum(map(len, curves.values()))
    assert "95 % intervals over images" in rank_caption(curves)


def test_tables_that_do_not_fit_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = study_of({"a": "masked"})
    write_study(tmp_path, study)
    whole = table("a")
    fewer = whole[(whole["seed"] == 0) | (whole["block"] < 3)]
    differ, missing = "seeds differ in blocks or width", "no column place"
    tokens = whole[whole["level"] != "image"]
    for frame, of_spectra, of_ranks in (
        (fewer, differ, differ),
        (whole.drop(columns="place"), missing, missing),
        (tokens, "no log_covariance of image level before", "no rankme of image level after"),
    ):
        frame.to_csv(TABLE / "a.csv", index=False)
        with pytest.raises(StudyError, match=rf"a\.csv: {of_spectra}"):
            spectra(Results(study))
        with pytest.raises(StudyError, match=rf"a\.csv: {of_ranks}"):
            rank_curves(Results(study), measure="rankme", level="image")
