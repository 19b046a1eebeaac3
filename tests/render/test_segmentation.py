"""Dense prediction on the page: the dots are those of the files, and data without masks say so."""

import json
from pathlib import Path

import pytest

from stages.render.segmentation import (
    segmentation_alt,
    segmentation_caption,
    segmentation_figure,
    segmentation_rows,
    segmentation_scores,
    segmentation_section,
)
from stages.render.style import palette
from stages.study.errors import StudyError
from stages.study.settings import Arm
from tests.render.synthetic import write_arm

ARMS = {
    "random": Arm(objective="random", label="Random init"),
    "cl_a": Arm(objective="contrastive", label="CL"),
    "cl_b": Arm(objective="contrastive", label="CL", seed=1),
}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, (name, arm) in enumerate(ARMS.items()):
        write_arm(tmp_path, name, arm.objective, seed=seed)
    monkeypatch.chdir(tmp_path)


def test_scores_are_those_of_the_files_in_per_cent() -> None:
    scores, told = segmentation_scores(ARMS)
    assert told == "all the ways" and len(scores) == 9
    own = scores[(scores["arm"] == "cl_b") & (scores["way"] == "linear")].iloc[0]
    assert (own["mean"], own["low"]) == (pytest.approx(33.0), pytest.approx(31.0))
    figure = segmentation_figure(scores, inks=palette(ARMS))
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "Linear head",
        "Nearest patches",
        "Fine-tuned",
    ]
    drawn = [line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert drawn == pytest.approx([12.6, 33.0, 33.0])
    caption = segmentation_caption(scores, protocol=told)
    assert "Fine-tuned, from highest to lowest: CL 55.0 [53.0, 58.0] %; Random init" in caption
    assert segmentation_alt(scores).startswith("Linear head, from highest")
    assert segmentation_rows(scores).loc["cl_a", "Fine-tuned"] == "55.0 [53.0, 58.0]"


def test_data_without_masks_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for name in ("heading", "say"):
        monkeypatch.setattr(f"stages.render.segmentation.{name}", said.append)
    for name in ARMS:
        Path(f"results/segmentation/{name}.json").write_text(json.dumps({"why": "the data have no masks"}))
    segmentation_section(ARMS, inks=palette(ARMS))
    assert said[1] == "Dense prediction was not measured: the data have no masks."


def test_a_missing_file_is_one_line() -> None:
    Path("results/segmentation/cl_a.json").unlink()
    with pytest.raises(StudyError, match=r"cl_a\.json: not found; `dvc repro segment@cl_a`"):
        segmentation_scores(ARMS)
