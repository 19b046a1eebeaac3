"""Maps of queries: the pictures are those of the tables, the words those of the pictures."""

import base64
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.render.figures.attention_maps import (
    LOWEST,
    maps_alt,
    maps_caption,
    maps_figure,
    scale_end,
    shown_maps,
    similarity_caption,
    similarity_curves,
)
from stages.render.figures.style import palette
from stages.render.page.explorer import explorer, explorer_data
from stages.render.page.figure_card import image_bytes
from stages.results.study_results import Results
from stages.study.errors import StudyError
from tests.render.synthetic import study_of, write_study

STUDY = study_of({"random": "random", "cl": "contrastive"}, labels={"random": "Random init", "cl": "CL"})
TABLE = Path("results/analysis/attention_maps")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path, STUDY)


def test_pictures_and_maps_are_those_of_the_tables(results: Results) -> None:
    shown = shown_maps(results)
    assert list(shown) == [0, 12]
    maps = shown[12]
    table = pd.read_csv(TABLE / "cl.csv").query("seed == 0")  # the first training is drawn
    pixels = pd.read_csv(TABLE / "random.csv").query("seed == 0")  # real arms all have the same
    green = pixels.query("measure == 'green' and image == 12 and row == 2 and column == 5")["value"].item()
    assert maps.image.shape == (6, 6, 3) and maps.image[1, 4, 1] == pytest.approx(green / 255)
    rows = table.query("measure == 'weight' and image == 12 and block == 2 and query == 'corner'")
    assert maps.weights["CL"][2, "corner"][2, 0] == rows.query("row == 3 and column == 1")["value"].item()
    assert maps.blocks == {"Random init": 3, "CL": 3}


def test_maps_are_multiples_of_uniform_attention_on_one_scale(results: Results) -> None:
    maps = shown_maps(results)[0]
    highest = scale_end(results)
    figure = maps_figure(maps, inks=palette(STUDY), highest=highest)
    drawn = [axis for axis in figure.axes if axis.images and axis.images[0].get_array().ndim == 2]
    assert len(drawn) == 2 * 6 and len({axis.images[0].get_clim() for axis in drawn}) == 1
    weights = [weight for of_arm in maps.weights.values() for weight in of_arm.values()]
    for axis, weight in zip(drawn, weights, strict=True):
        np.testing.assert_allclose(axis.images[0].get_array(), 9 * weight)
        assert np.mean(9 * weight) == pytest.approx(1)
    assert highest >= 0.99 * 9 * max(weight.max() for weight in weights)
    assert drawn[0].images[0].get_clim() == (LOWEST, highest) == (LOWEST, explorer_data(results)["highest"])
    assert drawn[1].texts[0].get_text() == "block 1, corner"
    assert [axis.get_title(loc="left") for axis in drawn[::6]] == ["Random init", "CL"]
    figures = [maps_figure(maps, inks=palette(STUDY), highest=highest) for _ in range(2)]
    first, again = (image_bytes(figure, form="svg") for figure in figures)
    assert first == again
    assert "image 12" in maps_caption(image=12) and "Random init and CL" in maps_alt(maps)


def test_the_cosine_is_the_mean_over_images_and_seeds(results: Results) -> None:
    curves = similarity_curves(results)
    pooled = pd.read_csv(TABLE / "cl.csv")
    expected = pooled[pooled["measure"] == "similarity"].groupby("block")["value"].mean()
    np.testing.assert_allclose(curves[curves["label"] == "CL"]["mean"], expected)
    assert similarity_caption(curves).startswith("1 − cosine")


def test_arms_that_show_other_images_are_one_line(results: Results) -> None:
    table = pd.read_csv(TABLE / "cl.csv")
    table["image"] = table["image"].replace({12: 13})
    table.to_csv(TABLE / "cl.csv", index=False)
    with pytest.raises(StudyError, match=r"cl\.csv: shows image 13, but other arms do not"):
        shown_maps(results)


def test_the_explorer_holds_every_map_in_the_order_of_its_queries(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = explorer_data(results)
    assert [arm["label"] for arm in data["arms"]] == ["Random init", "CL"]
    arm = data["arms"][1]
    assert (arm["grid"], arm["blocks"], arm["start"]) == (3, 3, 2 * 3 * 81)
    table = pd.read_csv(TABLE / "cl.csv").query(
        "seed == 0 and measure == 'map' and image == 12 and block == 2"
    )
    row = table.query("row == 2 and column == 3").iloc[0]
    levels = zlib.decompress(base64.b64decode(data["maps"]), -zlib.MAX_WBITS)
    query = arm["start"] + (3 + 1) * 81 + 5 * 9
    assert len(levels) == 2 * 2 * 3 * 81 and levels[query : query + 9] == base64.b64decode(row["map"])
    assert arm["largest"][1][1][5] == pytest.approx(row["value"], rel=1e-3)
    image = data["images"][1]
    assert image["name"] == "held-out image 12" and len(base64.b64decode(image["pixels"])) == 3 * 36
    monkeypatch.setattr("stages.render.page.explorer.LARGEST", 2 * 3 * 81 + 1)  # the maps of one image
    assert len(explorer_data(results)["images"]) == len(data["images"]) - 1 == 1
    html = explorer(results, words="Pick <one>.")
    assert "Pick &lt;one&gt;." in html and html.count("<script") == 2 and "http" not in html
