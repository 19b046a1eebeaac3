"""Sweeps and gradients follow from the tables of the arms."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.encoders.size import parameters
from stages.render.figures.gradients import (
    gradient_alt,
    gradient_caption,
    gradient_figure,
    gradient_findings,
    gradient_rows,
    late_rows,
    measured,
)
from stages.render.figures.paper import size_sweep
from stages.render.figures.style import palette
from stages.render.figures.sweep_places import along_size, along_weight
from stages.render.page.figure_card import image_bytes, show
from stages.render.sections.sweeps import lines_of, sweeps
from stages.render.words import fixed
from stages.results.accuracies import accuracies
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.params import load_params, validate
from stages.study.study import Study
from stages.tools.preset import merge
from tests.render.synthetic import ROOT, make_project, study_of, write_csv


def study(preset: str, **more: dict[str, object]) -> Study:
    """Return the study of a preset with additional arms, from one seed."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    merge(values, yaml.safe_load((ROOT / f"stages/presets/{preset}.yaml").read_text()) if preset else {})
    return validate(values | {"arms": values["arms"] | more, "seeds": [0]})


def made(preset: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Results, pd.DataFrame]:
    """Return the results of a preset with synthetic tables, and its accuracies."""
    params = study(preset)
    arms = {name: arm.model_dump(exclude_none=True) for name, arm in params.arms.items()}
    make_project(folder, images=6, arms=arms, labels=params.labels, seeds=[0])
    monkeypatch.chdir(folder)
    results = Results(load_params(stage="summary"))
    return results, accuracies(results, probes=["knn", "linear"])


@pytest.mark.parametrize("position", ["sincos", "learned", "none"])
@pytest.mark.parametrize(("width", "depth", "patch", "ratio"), [(32, 2, 4, 2.0), (64, 3, 8, 4.0)])
def test_parameters_are_those_that_the_encoder_learns(
    width: int, depth: int, patch: int, ratio: float, position: str
) -> None:
    vit = Vit(width=width, depth=depth, heads=2, patch_size=patch, mlp_ratio=ratio, position=position)
    encoder = build_encoder(vit=vit, image_size=32, seed=0)
    learnt = sum(weight.numel() for weight in encoder.parameters() if weight.requires_grad)
    assert parameters(vit, image_size=32) == learnt


def test_the_sizes_of_the_paper_count_to_its_millions() -> None:
    for width, heads, millions in ((192, 3, 5.8), (384, 6, 22.2), (768, 12, 86)):
        vit = Vit(width=width, depth=12, heads=heads, patch_size=16, mlp_ratio=4.0, position="learned")
        assert parameters(vit, image_size=224) / 1e6 == pytest.approx(millions, rel=0.06)
    paper = size_sweep()
    gaps = [paper["MoCo v3"][size] - paper["SimMIM"][size] for size in paper["SimMIM"]]
    assert gaps == pytest.approx([4.33, 1.06, -0.58])


def test_the_weights_of_one_recipe_are_a_sweep() -> None:
    assert along_weight(study("")) == {} and along_weight(study("sizes")) == {}
    small = {"objective": "hybrid", "cl_weight": 0.5, "width": 32}
    again = {"objective": "hybrid", "cl_weight": 0.9, "seeds": [3]}
    places = along_weight(study("lambda", small=small, again=again))
    line = {label: x for label, (name, _, x) in places.items() if name == "hybrid"}
    assert sorted(line.values()) == [0, 0.2, 0.4, 0.6, 0.8, 0.9, 1] and line["CL (MoCo v3)"] == 1
    assert places["Layered, λ = 0.2"] == ("Layered, λ = 0.2", "Layered, λ = 0.2", 0.2)
    assert math.isnan(places["Random init"][2]) and "small" not in places


def test_a_checkpoint_does_not_start_a_sweep() -> None:
    for preset, objective, along in (
        ("lambda", "hybrid", along_weight),
        ("sizes", "contrastive", along_size),
    ):
        whole = study(preset)
        first = next(arm for arm in whole.arms.values() if arm.objective == objective)
        early = first.model_copy(update={"stop_epoch": 3})
        more = whole.model_copy(update={"arms": {"early": early, **whole.arms}})
        assert along(more) == along(whole) and along(whole)


def test_three_sizes_of_one_recipe_are_a_sweep() -> None:
    assert along_size(study("")) == {} and along_size(study("lambda")) == {}
    places = along_size(study("sizes", long={"objective": "masked", "epochs": 20, "width": 96, "heads": 6}))
    assert {name for name, *_ in places.values()} == {"CL", "MIM", "untrained"}
    assert len(places) == 9 and "long" not in places
    assert places["CL, width 32"][2] < places["CL, width 64"][2] < places["CL, width 128"][2]
    assert (
        places["CL, width 32"][1] == "CL, width 64"
        and places["MIM, width 32"][2] == places["CL, width 32"][2]
    )


def test_a_sweep_of_the_weight_is_drawn_with_its_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params, scores = made("lambda", tmp_path, monkeypatch)
    top = (scores["label"] == "Hybrid, λ = 0.6") & (scores["evaluation"] == "linear")
    scores.loc[top, ["mean", "low", "high"]] = (0.9, 0.89, 0.91)
    drawings = sweeps(params, scores, inks=palette(params.study))
    assert list(drawings) == ["accuracy-by-weight", "measures-by-weight", "accuracy-by-ratio"]
    accuracy, measures, ratios = (sweep.drawing for sweep in drawings.values())
    assert "Single points: λ computed for a gradient ratio." in accuracy["caption"]
    assert {"Hybrid, gradients 1 : 1", "Layered, λ = 0.2", "CL (MoCo v3)"} <= set(ratios["data"]["line"])
    assert len(ratios["fig"].axes) == 4 and ratios["fig"].axes[0].get_xscale() == "log"
    above = ratios["fig"].axes[0].child_axes[0]
    assert "0.2" in [tick.get_text() for tick in above.get_xticklabels()] and above.get_xlabel() == "λ"
    assert measures["fig"].axes[0].get_yscale() == "log"  # mutual information
    assert "Linear probe on shape: hybrid is highest at λ = 0.6 (90.0 %), with " in (
        drawings["accuracy-by-weight"].findings
    )
    assert drawings["measures-by-weight"].findings == ""
    assert "linear probe (%) and fine-tuned (%) against" in accuracy["alt"]
    rows = accuracy["data"].set_index(["panel", "measure", "line", "x"])["mean"]
    assert rows["This study: shape", "linear probe (%)", "hybrid", 0.6] == pytest.approx(90.0)
    assert rows["Paper", "fine-tuned (%)", "hybrid", 0.2] == 82.29
    assert len(accuracy["fig"].axes) == 6 and len(measures["fig"].axes) == 2
    first = image_bytes(accuracy["fig"], form="svg")
    again = sweeps(params, scores, inks=palette(params.study))["accuracy-by-weight"].drawing
    assert first == image_bytes(again["fig"], form="svg")
    show(**measures, folder=tmp_path / "shown")
    assert (tmp_path / "shown/measures-by-weight.png").exists()
    capsys.readouterr()


def test_a_sweep_of_the_size_is_drawn_with_its_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, scores = made("sizes", tmp_path, monkeypatch)
    chosen = (scores["evaluation"] == "fine-tuned") & (scores["labels"] == "shape")
    for label, value in (("CL, width 32", 0.7), ("CL, width 64", 0.8), ("CL, width 128", 0.85)):
        scores.loc[chosen & (scores["label"] == label), "mean"] = value
    for label, value in (("MIM, width 32", 0.6), ("MIM, width 64", 0.79), ("MIM, width 128", 0.9)):
        scores.loc[chosen & (scores["label"] == label), "mean"] = value
    ((drawing, findings),) = sweeps(params, scores, inks=palette(params.study)).values()
    assert findings.startswith("Change of accuracy in points from ")
    assert "Fine-tuned on shape: " in findings
    assert "CL +15.0" in findings and "MIM +30.0" in findings
    assert drawing["name"] == "accuracy-by-size"
    assert len(drawing["fig"].axes) == 5  # the paper has no linear probe of them
    rows = drawing["data"].set_index(["panel", "line", "x"])["mean"]
    assert np.squeeze(rows["Paper", "MoCo v3", 5.8]) == 68.91  # pandas 2 gives a row


def test_a_study_without_a_sweep_has_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params, scores = made("", tmp_path, monkeypatch)
    assert sweeps(params, scores, inks=palette(params.study)) == {}


def test_arms_at_one_place_of_a_sweep_are_all_drawn() -> None:
    values = pd.DataFrame({"mean": [1.0, 2.0, 3.0]}, index=["MIM", "H 0", "H 1"])
    values = values.assign(low=values["mean"], high=values["mean"])
    places = {"MIM": ("hybrid", "H 0", 0.0), "H 0": ("hybrid", "H 0", 0.2), "H 1": ("hybrid", "H 0", 0.2)}
    first, second = lines_of(places, values)
    assert first.name == "hybrid" and first.points == {0.0: (1.0, 1.0, 1.0), 0.2: (2.0, 2.0, 2.0)}
    assert (second.name, second.ink, second.points) == ("H 1", "H 1", {0.2: (3.0, 3.0, 3.0)})


def write_gradients(arm: str, seed: int, cosines: list[list[float]]) -> None:
    same = {"cl_weight": 0.2, "batches": 12, "square_cl": 4.0, "square_mim": 1.0, "half_cl": 0.5}
    rows = [
        {"seed": seed, "epoch": epoch, "block": block, "dot": 2 * cosine, "half_mim": cosine}
        | {"norm_cl": 2.0, "norm_mim": 1.0}
        | same
        for epoch, blocks in enumerate(cosines, start=1)
        for block, cosine in enumerate(blocks, start=1)
    ]
    write_csv(Path(f"models/{arm}/{seed}/gradients.csv"), pd.DataFrame(rows))


def test_gradients_are_averaged_over_seeds_and_late_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arms = {
        "both": {"objective": "hybrid", "cl_weight": 0.2},
        "cl": "contrastive",
        "k": {"objective": "layered", "cl_weight": 0.2, "mim_block": 1, "seeds": [5]},
    }
    params = study_of(arms, labels={"both": "Both"})
    assert gradient_rows(Results(params)).empty
    write_gradients("both", 0, [[1, 1], [0.2, -0.5], [0.4, -0.1], [0.6, -0.3]])
    write_gradients("both", 1, [[1, 1], [0.2, -0.5], [0.2, -0.3], [0.8, -0.1]])
    write_gradients("k", 5, [[0.1, math.nan]] * 4)
    rows = gradient_rows(Results(params))
    assert len(rows) == 20
    late = late_rows(rows)
    assert late["label"].tolist() == ["Both", "Both", "k"]
    assert late["mean"].tolist() == pytest.approx([0.5, -0.2, 0.1])
    assert late["seed_0"].tolist()[:2] == pytest.approx([0.5, -0.2])
    assert late["high"].tolist() == pytest.approx([0.5, -0.2, 0.1])  # both trainings have the same mean
    findings = gradient_findings(rows)
    assert (
        "Both: cosine 0.50 in block 1, −0.20 in block 2; the norm of the weighted CL gradient is 0.50 "
        "times" in findings
    )
    assert "k: cosine 0.10 in block 1; the norm of the weighted" in findings
    assert "(k: one training, " in gradient_caption(rows) and "Arms: Both and k." in gradient_alt(rows)
    once = rows[(rows["label"] == "k") & (rows["epoch"] == rows["epoch"].max())]
    assert "; bands: " in gradient_caption(rows) and "; bars: " in gradient_caption(once)
    inks = palette(params)
    images = {image_bytes(gradient_figure(rows, inks=inks), form="svg") for _ in range(2)}
    assert len(images) == 1

    many = pd.concat([rows[rows["label"] == "k"].assign(label=name) for name in "abcd"] + [rows])
    assert f"highest for a, 0.10, and lowest for Both, {fixed(-0.2, decimals=2)} [" in gradient_findings(many)

    assert list(measured(rows)) == ["block", "epoch"]
    assert measured(rows.assign(square_cl=-1.0)) == {}  # only noise

    short = pd.read_csv("models/both/0/gradients.csv").drop(columns=["norm_cl", "norm_mim"])
    write_csv(Path("models/both/0/gradients.csv"), short)
    with pytest.raises(StudyError, match=r"models/both/0/gradients\.csv: no column norm_cl, norm_mim"):
        gradient_rows(Results(params))
