"""Planes and silhouettes: what is drawn is what the tables hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.render.figures import image_bytes
from stages.render.style import palette
from stages.render.token_embedding import (
    planes,
    planes_alt,
    planes_caption,
    planes_figure,
    silhouettes,
    silhouettes_alt,
    silhouettes_caption,
    silhouettes_figure,
)
from stages.study.settings import Arm
from tests.render.synthetic import write_arm

ARMS = {
    "random": Arm(objective="random", label="Random init"),
    "cl_a": Arm(objective="contrastive", label="CL"),
    "cl_b": Arm(objective="contrastive", label="CL", seed=1),
}
TABLE = Path("results/analysis/token_embedding")


@pytest.fixture(autouse=True)
def inside(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    for seed, (name, arm) in enumerate(ARMS.items()):
        write_arm(folder, name, arm.objective, seed=seed)
    monkeypatch.chdir(folder)


def test_silhouettes_are_means_over_images_and_replicates() -> None:
    found = silhouettes(ARMS)
    pooled = pd.concat([pd.read_csv(TABLE / f"{name}.csv") for name in ("cl_a", "cl_b")])
    for group, table in found.items():
        expected = pooled[pooled["measure"] == f"silhouette_{group}"]["value"].mean()
        assert table.set_index("label").loc["CL", "mean"] == pytest.approx(expected)
    caption = silhouettes_caption(found)
    assert caption.index("CL 0") < caption.index("Random init 0") and "Bars: 95 %" in caption
    assert silhouettes_alt(found).count("CL 0.") == 2


def test_without_classes_to_tell_apart_one_silhouette_is_left() -> None:
    for name in ARMS:
        table = pd.read_csv(TABLE / f"{name}.csv")
        table[~table["measure"].str.endswith("_class")].to_csv(TABLE / f"{name}.csv", index=False)
    assert list(silhouettes(ARMS)) == ["image"]
    assert "not defined by class" in planes_alt(planes(ARMS))
    assert len(silhouettes_figure(silhouettes(ARMS), inks=palette(ARMS)).axes) == 1


def test_planes_hold_every_token_at_its_place() -> None:
    found = planes(ARMS)
    assert list(found) == ["Random init", "CL"] and len(found["CL"]) == 54
    raw = pd.read_csv(TABLE / "cl_a.csv").query("image == 4 and index == 7").set_index("measure")["value"]
    token = found["CL"].query("image == 4 and index == 7").iloc[0]
    assert (token["x"], token["y"]) == (raw["x"], raw["y"]) and token["class"] == 1
    figure = planes_figure(found, inks=palette(ARMS))
    assert len(figure.axes) == 4
    drawn = np.concatenate([line.get_xydata() for line in figure.axes[1].lines])
    assert len(drawn) == 54 and sorted(drawn[:, 0]) == pytest.approx(sorted(found["CL"]["x"]))
    first, again = (image_bytes(planes_figure(found, inks=palette(ARMS)), form="svg") for _ in range(2))
    assert first == again
    assert "6 held-out images of 3 classes" in planes_caption(found)
