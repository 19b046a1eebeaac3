"""The curves of the linear probe of every block, and what their last block has lost."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.render import paper
from stages.render.captions import depth_alt
from stages.render.layerwise import declines, layerwise_caption, layerwise_curves, layerwise_predictions
from stages.study.errors import StudyError
from stages.study.settings import Arm
from tests.render.synthetic import write_csv

ARMS = {
    "cl": Arm(objective="contrastive", label="CL"),
    "mim_a": Arm(objective="masked", label="MIM"),
    "mim_b": Arm(objective="masked", label="MIM", seed=1),
}
# Whether each of four images is right after block 0, 1 and 2, and the block chosen on training images.
RIGHT = {
    "cl": ([[0, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 0]], 2),
    "mim_a": ([[0, 1, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]], 1),
    "mim_b": ([[0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]], 0),
}


@pytest.fixture(autouse=True)
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (right, best) in RIGHT.items():
        rows = [
            {"image": image, "labels": labels, "block": block, "truth": 3, "predicted": 3 if hit else 1,
             "chosen": block == best}
            for labels, turned in (("shape", False), ("texture", True))
            for image, hits in enumerate(right)
            for block, hit in enumerate(hits[::-1] if turned else hits)
        ]  # fmt: skip
        write_csv(Path(f"results/probe/layerwise/{name}.csv"), pd.DataFrame(rows))


def test_curves_are_accuracies_of_one_label_set_averaged_over_replicates() -> None:
    predictions = layerwise_predictions(ARMS)
    curves = layerwise_curves(ARMS, predictions, labels="shape").set_index(["label", "block"])
    assert curves.loc["CL", "mean"].tolist() == [25, 50, 75]
    assert curves.loc["MIM", "mean"].tolist() == [25, 62.5, 12.5]
    assert curves.loc["CL", "depth"].tolist() == [0, 0.5, 1]
    assert (curves["low"] <= curves["mean"]).all() and (curves["high"] >= curves["mean"]).all()
    assert curves.loc["MIM", "arms"].tolist() == [2] * 3 and curves["images"].unique().tolist() == [4]
    turned = layerwise_curves(ARMS, predictions, labels="texture")
    assert turned.loc[turned["label"] == "CL", "mean"].tolist() == [75, 50, 25]


def test_the_last_block_is_paired_by_image_with_the_chosen_one() -> None:
    lost = declines(ARMS, layerwise_predictions(ARMS), labels="shape")
    assert lost.loc["CL", ["best", "last", "mean", "low", "high"]].tolist() == [[2], 2, 0, 0, 0]
    # mim_a: two of four lost from block 1; mim_b: one of four lost from block 0.
    assert lost.loc["MIM", "best"] == [1, 0] and lost.loc["MIM", "mean"] == -37.5
    shares = np.array([[-100.0, 0, -100, 0], [0, 0, -100, 0]])
    assert shares.mean() == lost.loc["MIM", "mean"] and -100 <= lost.loc["MIM", "low"] < -37.5
    assert lost.loc["MIM", "high"] <= 0  # no image was gained, so no draw of images gains


def test_the_caption_says_what_the_numbers_say() -> None:
    predictions = layerwise_predictions(ARMS)
    curves = layerwise_curves(ARMS, predictions, labels="shape")
    lost = declines(ARMS, predictions, labels="shape")
    said = layerwise_caption(curves, lost, labels="shape", paper=paper.LAYERWISE)
    assert said.startswith("Linear probe on shape of the mean patch token after every block")
    assert "paired by image: MIM −38 [" in said
    assert "points (blocks 1 and 0); for CL the best block is the last." in said
    assert "Last block, from highest to lowest: CL 75 [" in said and said.endswith("not the levels.")
    alone = layerwise_caption(curves, lost, labels="class", paper=paper.LAYERWISE)
    assert alone.startswith("Linear probe of the mean patch token")
    alt = depth_alt(curves, measure="linear probe on shape", unit="%", paper=paper.layerwise())
    assert "CL: 25.0 % at block 0, 75.0 % at block 2." in alt
    assert "The paper's SimMIM: 14.9 % at block 1, highest 56.8 % at block 8, 45.3 % at block 12." in alt


def test_errors_name_the_file_and_what_to_do() -> None:
    path = Path("results/probe/layerwise/cl.csv")
    write_csv(path, pd.read_csv(path).drop(columns="chosen"))
    with pytest.raises(StudyError, match=r"layerwise/cl\.csv: no column chosen"):
        layerwise_predictions(ARMS)
    path.unlink()
    with pytest.raises(StudyError, match=r"cl\.csv: not found; `dvc repro probe@cl-layerwise` writes it"):
        layerwise_predictions(ARMS)
