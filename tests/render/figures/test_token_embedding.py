"""t-SNE planes and silhouettes match the tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.render.figures.style import palette
from stages.render.figures.token_embedding import (
    planes,
    planes_alt,
    planes_caption,
    planes_figure,
    silhouettes,
    silhouettes_alt,
    silhouettes_caption,
    silhouettes_figure,
)
from stages.render.page.figure_card import image_bytes
from stages.results.study_results import Results
from tests.render.synthetic import study_of, write_study

STUDY = study_of({"random": "random", "cl": "contrastive"}, labels={"random": "Random init", "cl": "CL"})
TABLE = Path("results/analysis/token_embedding")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path, STUDY)


def test_silhouettes_are_means_over_images_and_seeds(results: Results) -> None:
    clusters = silhouettes(results)
    pooled = pd.read_csv(TABLE / "cl.csv")
    for group, table in clusters.items():
        expected = pooled[pooled["measure"] == f"silhouette_{group}"]["value"].mean()
        assert table.set_index("label").loc["CL", "mean"] == pytest.approx(expected)
    assert "bars: 95 %" in silhouettes_caption(clusters) and "CL" in silhouettes_alt(clusters)


def test_a_single_class_has_no_silhouette_by_class(results: Results) -> None:
    for name in STUDY.arms:
        table = pd.read_csv(TABLE / f"{name}.csv")
        table[~table["measure"].str.endswith("_class")].to_csv(TABLE / f"{name}.csv", index=False)
    assert list(silhouettes(results)) == ["image"]
    assert len(silhouettes_figure(silhouettes(results), inks=palette(STUDY)).axes) == 1


def test_planes_hold_every_token_at_its_place(results: Results) -> None:
    tokens_by_label = planes(results)
    assert list(tokens_by_label) == ["Random init", "CL"] and len(tokens_by_label["CL"]) == 54
    raw = (
        pd.read_csv(TABLE / "cl.csv")
        .query("seed == 0 and image == 4 and index == 7")
        .set_index("measure")["value"]
    )
    token = tokens_by_label["CL"].query("image == 4 and index == 7").iloc[0]
    assert (token["x"], token["y"]) == (raw["x"], raw["y"]) and token["class"] == 1
    figure = planes_figure(tokens_by_label, inks=palette(STUDY))
    assert len(figure.axes) == 4
    drawn = np.concatenate([line.get_xydata() for line in figure.axes[1].lines])
    assert len(drawn) == 54 and sorted(drawn[:, 0]) == pytest.approx(sorted(tokens_by_label["CL"]["x"]))
    first, again = (
        image_bytes(planes_figure(tokens_by_label, inks=palette(STUDY)), form="svg") for _ in range(2)
    )
    assert first == again
    assert "6 held-out images of 3 classes" in planes_caption(tokens_by_label)
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    words = " ".join([*texts, planes_alt(tokens_by_label), *(axis.get_xlabel() for axis in figure.axes)])
    columns = set(tokens_by_label["CL"].columns)
    assert "silhouette" not in words and columns == {"image", "class", "index", "x", "y"}


@pytest.mark.filterwarnings("error")
def test_tokens_that_are_all_alike_are_drawn(results: Results) -> None:
    alike = {label: tokens.assign(x=0.0, y=0.0) for label, tokens in planes(results).items()}
    figure = planes_figure(alike, inks=palette(STUDY))
    assert {tuple(point) for line in figure.axes[0].lines for point in line.get_xydata()} == {(0, 0)}
