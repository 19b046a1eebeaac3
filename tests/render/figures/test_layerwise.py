"""Curves of the linear probe by block, and the loss in the last block."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.render.figures import paper
from stages.render.figures.depth import depth_alt
from stages.render.figures.layerwise import declines, layerwise_caption, layerwise_curves
from stages.results.study_results import Results
from stages.study.errors import StudyError
from tests.render.synthetic import study_of, write_csv

STUDY = study_of(
    {"cl": {"objective": "contrastive", "seeds": [0]}, "mim": "masked"}, labels={"cl": "CL", "mim": "MIM"}
)
# Whether each of four images is right after block 0, 1 and 2, and the block chosen on training images.
RIGHT = {
    ("cl", 0): ([[0, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 0]], 2),
    ("mim", 0): ([[0, 1, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]], 1),
    ("mim", 1): ([[0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]], 0),
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(tmp_path)
    rows: dict[str, list[dict[str, Any]]] = {"cl": [], "mim": []}
    for (name, seed), (right, best) in RIGHT.items():
        rows[name] += [
            {"seed": seed, "image": image, "labels": labels, "block": block}
            | {"truth": 3, "predicted": 1 + 2 * hit, "chosen": block == best}
            for labels, turned in (("shape", False), ("texture", True))
            for image, hits in enumerate(right)
            for block, hit in enumerate(hits[::-1] if turned else hits)
        ]  # fmt: skip
    for name, of_arm in rows.items():
        write_csv(Path(f"results/probe/layerwise/{name}.csv"), pd.DataFrame(of_arm))
    return Results(STUDY, tmp_path)


def test_curves_are_accuracies_of_one_label_set_averaged_over_seeds(results: Results) -> None:
    curves = layerwise_curves(results, labels="shape").set_index(["label", "block"])
    assert curves.loc["CL", "mean"].tolist() == [25, 50, 75]
    assert curves.loc["MIM", "mean"].tolist() == [25, 62.5, 12.5]
    assert curves.loc["CL", "depth"].tolist() == [0, 0.5, 1]
    assert (curves["low"] <= curves["mean"]).all() and (curves["high"] >= curves["mean"]).all()
    assert curves.loc["MIM", "trainings"].tolist() == [2] * 3 and curves["images"].unique().tolist() == [4]
    turned = layerwise_curves(results, labels="texture")
    assert turned.loc[turned["label"] == "CL", "mean"].tolist() == [75, 50, 25]


def test_the_last_block_is_paired_by_image_with_the_chosen_one(results: Results) -> None:
    lost = declines(results, labels="shape")
    assert lost.loc["CL", ["best", "last", "mean", "low", "high"]].tolist() == [[2], 2, 0, 0, 0]
    # Seed 0: two of four lost from block 1; seed 1: one of four lost from block 0.
    assert lost.loc["MIM", "best"] == [1, 0] and lost.loc["MIM", "mean"] == -37.5
    reach = 12.7062 * 12.5  # Student's t of one degree of freedom; -50 and -25 are 12.5 from their mean
    assert lost.loc["MIM", ["low", "high"]].tolist() == pytest.approx(
        [-37.5 - reach, -37.5 + reach], rel=1e-4
    )


def test_the_caption_names_the_label_set(results: Results) -> None:
    curves = layerwise_curves(results, labels="shape")
    caption = layerwise_caption(curves, labels="shape", paper=paper.LAYERWISE)
    assert caption.startswith("Linear-probe accuracy on shape after every block")
    alone = layerwise_caption(curves, labels="class", paper=paper.LAYERWISE)
    assert alone.startswith("Linear-probe accuracy after every block")
    alt = depth_alt(curves, measure="linear probe on shape", paper=paper.layerwise())
    assert "beside the paper's MoCo v3, SimMIM and MAE" in alt


def test_errors_name_the_file_and_what_to_do(results: Results) -> None:
    path = Path("results/probe/layerwise/cl.csv")
    write_csv(path, pd.read_csv(path).drop(columns="chosen"))
    with pytest.raises(StudyError, match=r"layerwise/cl\.csv: no column chosen"):
        layerwise_curves(Results(STUDY), labels="shape")
    path.unlink()
    with pytest.raises(StudyError, match=r"cl\.csv: not found; `dvc repro probe@cl-layerwise` writes it"):
        layerwise_curves(Results(STUDY), labels="shape")
