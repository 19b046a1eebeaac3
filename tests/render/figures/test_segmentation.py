"""Segmentation in the report matches the result files."""

import json
from pathlib import Path

import pytest

from stages.render.figures.segmentation import segmentation_alt, segmentation_caption, segmentation_figure
from stages.render.figures.style import palette
from stages.render.sections.segmentation import segmentation_rows, segmentation_section
from stages.results.accuracies import segmentation_scores
from stages.results.study_results import Results
from stages.study.errors import StudyError
from tests.render.synthetic import study_of, write_study

STUDY = study_of({"random": "random", "cl": "contrastive"}, labels={"random": "Random init", "cl": "CL"})


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path, STUDY)


def test_scores_are_those_of_the_files_in_per_cent(results: Results) -> None:
    scores, reason = segmentation_scores(results)
    assert reason == "all the ways" and len(scores) == 6
    row = scores[(scores["label"] == "CL") & (scores["way"] == "linear")].iloc[0]
    assert (row["seed_0"], row["seed_1"], row["mean"]) == pytest.approx((34.0, 32.0, 33.0))
    assert row["mean"] - row["low"] == pytest.approx(12.706, abs=1e-3)  # t of one degree of freedom
    figure = segmentation_figure(scores, inks=palette(STUDY))
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "Linear head",
        "Nearest patches",
        "Fine-tuned",
    ]
    drawn = [line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert drawn == pytest.approx([12.6, 33.0])
    assert len({axis.get_xlim() for axis in figure.axes}) == 1
    assert figure.axes[0].get_xlim()[1] > 55.0  # of CL, fine-tuned
    assert "Dots: mean over 2 trainings" in segmentation_caption(scores)
    assert "Arms: Random init and CL." in segmentation_alt(scores)
    assert segmentation_rows(scores).loc["CL", "Fine-tuned"] == "55.0 [42.3, 67.7]"


def test_the_reason_replaces_missing_scores(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    for name in ("put", "say"):
        monkeypatch.setattr(f"stages.render.sections.segmentation.{name}", shown.append)
    for name in STUDY.arms:
        Path(f"results/segmentation/{name}.json").write_text(json.dumps({"why": "the data have no masks"}))
    segmentation_section(results, inks=palette(STUDY))
    assert shown[1] == "Segmentation was not measured: the data have no masks."


def test_a_missing_file_is_one_line(results: Results) -> None:
    Path("results/segmentation/cl.json").unlink()
    with pytest.raises(StudyError, match=r"cl\.json: not found; `dvc repro segment@cl`"):
        segmentation_scores(results)
