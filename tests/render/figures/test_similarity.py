"""Similarity in the report matches the tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.render.figures.similarity import (
    block_matrices,
    matrix_alt,
    matrix_caption,
    matrix_figure,
    matrix_rows,
    paired_alt,
    paired_caption,
    paired_figure,
    paired_rows,
    similarity_curves,
)
from stages.render.figures.style import palette
from stages.render.sections.last_block import measure_rows
from stages.results.study_results import Results
from stages.study.errors import StudyError
from tests.render.synthetic import study_of, write_arm, write_study

ARMS = {"random": "random", "cl": "contrastive"}
LABELS = {"random": "Random init", "cl": "CL"}
STUDY = study_of(ARMS, labels=LABELS)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path, STUDY)


def stored(name: str) -> pd.DataFrame:
    return pd.read_csv(f"results/analysis/similarity/{name}.csv")


@pytest.mark.parametrize("variant", ["raw", "centred"])
@pytest.mark.parametrize("measure", ["heads", "positions"])
def test_curves_are_means_over_images_and_seeds(results: Results, measure: str, variant: str) -> None:
    curves = similarity_curves(results, measure=measure, variant=variant)
    rows = stored("cl").query("measure == @measure and variant == @variant")
    ours = curves[curves["label"] == "CL"]
    np.testing.assert_allclose(ours["mean"], rows.groupby("block")["value"].mean())
    assert ours["block"].tolist() == ([1, 2, 3] if measure == "heads" else [0, 1, 2, 3])
    assert ours["trainings"].eq(2).all() and ours["images"].eq(24).all()
    assert (ours["low"] < ours["mean"]).all() and (ours["mean"] < ours["high"]).all()


def test_curves_compare_each_block_with_the_preceding_one(results: Results) -> None:
    curves = similarity_curves(results, measure="blocks", variant="raw").query("label == 'Random init'")
    rows = stored("random").query("measure == 'blocks' and variant == 'raw' and other_block == block - 1")
    np.testing.assert_allclose(curves["mean"], rows.groupby("block")["value"].mean())
    assert curves["block"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("measure", "variant"), [("blocks", "raw"), ("cka", "centred")])
def test_matrices_are_symmetric_with_a_unit_diagonal(results: Results, measure: str, variant: str) -> None:
    matrices = block_matrices(results, measure=measure, variant=variant)
    square = matrices["CL"].to_numpy()
    assert square.shape == (4, 4) and (square.diagonal() == 1).all()
    np.testing.assert_array_equal(square, square.T)
    rows = stored("cl").query("measure == @measure and variant == @variant")
    expected = rows.query("block == 3 and other_block == 1")["value"].mean()
    assert square[3, 1] == pytest.approx(expected)


def test_an_encoder_of_one_head_is_left_out_of_the_curves_of_heads(results: Results) -> None:
    write_arm(results.root, "single", "masked", number=3, heads=1)
    single = Results(study_of({"single": "masked"}), results.root)
    assert similarity_curves(single, measure="heads", variant="raw").empty
    three = Results(study_of(ARMS | {"single": "masked"}, labels=LABELS), results.root)
    both = similarity_curves(three, measure="heads", variant="raw")
    assert set(both["label"]) == {"Random init", "CL"}
    assert "single" in set(similarity_curves(three, measure="positions", variant="raw")["label"])


def test_the_table_of_the_last_block_has_similarity(results: Results) -> None:
    analyses = {"similarity": STUDY.analyses["similarity"]}
    table = measure_rows(Results(STUDY.model_copy(update={"analyses": analyses})))
    assert list(table.columns) == ["cosine between positions"] and list(table.index) == ["Random init", "CL"]
    expected = stored("random").query("measure == 'positions' and variant == 'raw' and block == 3")["value"]
    assert f"{expected.mean():.3f}"[:4] in table.loc["Random init"].item()


def test_captions_and_alternative_texts_name_measure_and_arms(results: Results) -> None:
    curves = {
        variant.capitalize(): similarity_curves(results, measure="positions", variant=variant)
        for variant in ("raw", "centred")
    }
    assert "of the cosine against depth, raw and centred" in paired_alt(curves, measure="the cosine")
    caption = paired_caption(curves, measure="A cosine.", centring="centred.")
    assert caption.startswith("A cosine. Left: raw. Right: centred. Lines: mean over 2 trainings, 24")
    matrices = {
        "A": pd.DataFrame([[1, 0.9, 0.5], [0.9, 1, 0.25], [0.5, 0.25, 1.0]]),
        "B": pd.DataFrame([[1, 0.9, 0.5], [0.9, 1, 0.75], [0.5, 0.75, 1.0]]),
    }
    assert matrix_caption(matrices, measure="A cosine.").startswith("A cosine. Mean over trainings.")
    assert "the cosine of every pair of blocks" in matrix_alt(matrices, measure="the cosine")
    cells = matrix_rows(matrices).set_index(["label", "block", "other_block"])["value"]
    assert len(cells) == 18 and cells["B", 2, 1] == 0.75
    assert list(paired_rows(curves)["variant"].unique()) == ["raw", "centred"]


def test_both_variants_share_a_scale_and_every_line_is_named_in_both(results: Results) -> None:
    curves = {
        name: similarity_curves(results, measure="heads", variant=name.lower()) for name in ("Raw", "Centred")
    }
    figure = paired_figure(curves, inks=palette(STUDY), ylabel="cosine")
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim() and left.get_title(loc="left") == "Raw"
    for axis in (left, right):
        assert {text.get_text() for text in axis.texts} == {"Random init", "CL"}


def test_matrices_share_one_scale_with_one_bar() -> None:
    matrices = {"A": pd.DataFrame([[1, 0.95], [0.95, 1]]), "B": pd.DataFrame([[1, 0.72], [0.72, 1]])}
    study = study_of({"a": "masked", "b": "contrastive"}, labels={"a": "A", "b": "B"})
    figure = matrix_figure(matrices, inks=palette(study), name="CKA")
    *panels, bar = figure.axes
    assert [panel.images[0].get_clim() for panel in panels] == [(0.7, 1)] * 2
    assert bar.get_xlabel() == "CKA" and len(panels) == 2


def test_errors_name_the_file(results: Results) -> None:
    path = Path("results/analysis/similarity/random.csv")
    lost = Results(study_of({"lost": "masked"}))
    with pytest.raises(
        StudyError, match=r"similarity/lost\.csv: not found; `dvc repro analyze@lost-similarity`"
    ):
        similarity_curves(lost, measure="heads", variant="raw")
    table = stored("cl")
    table[(table["seed"] == 0) | (table["block"] < 3)].to_csv(
        "results/analysis/similarity/cl.csv", index=False
    )
    with pytest.raises(StudyError, match=r"cl\.csv: some images lack a block"):
        similarity_curves(Results(STUDY), measure="heads", variant="raw")
    stored("random").drop(columns="variant").to_csv(path, index=False)
    with pytest.raises(StudyError, match=r"random\.csv: no column variant"):
        similarity_curves(Results(STUDY), measure="heads", variant="raw")
