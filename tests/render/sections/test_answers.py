"""The answers to the questions follow the numbers, and name what was not measured."""

from pathlib import Path

import pandas as pd
import pytest

from stages.render.figures.captions import extremes
from stages.render.figures.depth import reach
from stages.render.sections.answers import on_attention, on_combination, on_components, on_representations
from stages.render.sections.last_block import measures_caption
from stages.results.study_results import Results
from tests.render.synthetic import study_of, write_csv

ARMS = {"cl": "contrastive", "mim": "masked", "both": {"objective": "hybrid", "cl_weight": 0.2}}
LABELS = {"cl": "CL", "mim": "MIM", "both": "Both"}


def results(*names: str, seeds: tuple[int, ...] = (0,)) -> Results:
    """Return the results of some arms."""
    return Results(study_of({name: ARMS[name] for name in names}, seeds=[*seeds], labels=LABELS))


def accuracies(**by_label: tuple[float, float]) -> pd.DataFrame:
    """Return accuracies from label -> linear and fine-tuned accuracy."""
    rows = [
        {"label": label, "evaluation": evaluation, "labels": "class", "mean": value}
        | {"low": value - 0.02, "high": value + 0.02}
        for label, values in by_label.items()
        for evaluation, value in zip(("linear", "fine-tuned"), values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_extremes_are_the_highest_and_the_lowest() -> None:
    values = pd.DataFrame({"mean": [2.0, 5.0, 3.0]}, index=["A", "B", "C"])
    values = values.assign(low=values["mean"] - 0.1, high=values["mean"] + 0.1)
    assert extremes(values, unit="px") == "B, 5.0 [4.9, 5.1] px, and lowest for A, 2.0 [1.9, 2.1] px"
    assert extremes(values[:1]) == "A, 2.0 [1.9, 2.1]"
    values.loc["A"] = [1e-5, 0.5e-5, 2e-5]
    assert extremes(values, unit="px").endswith("lowest for A, below 0.1 px")
    assert extremes(values[1:2], decimals=3) == "B, 5.000 [4.900, 5.100]"
    close = values.assign(mean=[2.0, 2.1, 2.2], low=1.5, high=2.5)
    assert (
        extremes(close) == "C, 2.2 [1.5, 2.5], and lowest for A, 2.0 [1.5, 2.5] (overlapping other intervals)"
    )
    near = pd.DataFrame({"mean": [0.3, 0.29, 0.1], "low": [0.25, 0.2, 0.05], "high": [0.35, 0.4, 0.15]})
    assert extremes(near).endswith("(overlapping other intervals)") and "over" not in extremes(near[::2])


def test_the_hybrid_is_compared_with_the_better_of_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scores = accuracies(CL=(0.50, 0.60), MIM=(0.40, 0.70), Both=(0.55, 0.68))
    first, second = on_combination(results(*ARMS), scores)
    assert first == (
        "Accuracy of Both and of the better of its parents: 55.0 [53.0, 57.0] and 50.0 [48.0, 52.0] % "
        "(linear probe; CL) and 68.0 [66.0, 70.0] and 70.0 [68.0, 72.0] % (fine-tuned; MIM)."
    )
    assert second == ""  # no gradients are stored

    def write_gradients(seed: int, dots: tuple[float, float]) -> None:
        frame = pd.DataFrame({"seed": seed, "epoch": 2, "block": [1, 2], "dot": dots, "cl_weight": 0.2})
        others = dict.fromkeys(("square_cl", "square_mim", "half_cl", "half_mim", "norm_cl", "norm_mim"), 1.0)
        write_csv(tmp_path / f"models/both/{seed}/gradients.csv", frame.assign(**others, batches=4))

    write_gradients(0, (0.2, -0.6))
    second = on_combination(results(*ARMS), scores)[1]
    assert second.endswith("have a cosine of −0.20: one training cannot show whether the losses conflict.")
    for dots, verdict in (
        ([-0.6, -0.7, -0.65], "the losses conflict."),
        ([-0.6, 0.1, -0.3], "neither agreement nor conflict is clear."),
        ([0.6, 0.7, 0.65], "the losses agree."),
    ):
        for seed, dot in enumerate(dots):
            write_gradients(seed, (dot, dot))
        several = results(*ARMS, seeds=(0, 1, 2))
        assert on_combination(several, scores)[1].endswith(verdict), dots
    assert on_combination(results("cl", "mim"), scores) == (
        "This study lacks a hybrid or one of its parents.",
        "",
    )


def test_the_block_that_loses_most_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, best in (("cl", 2), ("mim", 1)):
        rows = [
            (0, image, "class", block, 1, int(block == best or image % 4 == 0), block == best)
            for image in range(40)
            for block in range(3)
        ]
        columns = ["seed", "image", "labels", "block", "truth", "predicted", "chosen"]
        write_csv(tmp_path / f"results/probe/layerwise/{name}.csv", pd.DataFrame(rows, columns=columns))
    first, second = on_components(results("cl", "mim"), probes=["layerwise"], label_sets=["class"])
    assert first == "Best block of 2 for a linear probe: 2 for CL and 1 for MIM."
    assert second.startswith("From the best to the last block, MIM loses the most accuracy: 75.0 [")
    alone = on_components(results("cl"), probes=["layerwise"], label_sets=["class"])
    assert alone[1] == "No arm loses accuracy from its best to its last block."
    table = tmp_path / "results/probe/layerwise/mim.csv"
    rows = pd.read_csv(table)
    rows["predicted"] = rows["truth"]  # every block is right but the last one, on one image
    rows.loc[(rows["block"] == 2) & (rows["image"] == 0), "predicted"] += 1
    rows.to_csv(table, index=False)
    _, unclear = on_components(results("cl", "mim"), probes=["layerwise"], label_sets=["class"])
    assert unclear.startswith("No arm clearly loses accuracy from its best to its last block; the largest")
    assert on_components(results("cl", "mim"), probes=["knn"], label_sets=[]) == (
        "This study does not probe single blocks.",
        "",
    )


def test_missing_analyses_are_named() -> None:
    nothing = Results(results("cl").study.model_copy(update={"analyses": {}}))
    assert on_attention(nothing)[0] == "This study does not measure attention."
    assert on_representations(nothing) == ("This study does not measure representations.", "")


def test_imported_encoders_have_patches_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patches of the study are those of no arm, so uniform attention over them is not mentioned."""
    curves = pd.DataFrame({"label": ["A", "B"], "depth": 1.0, "mean": [9.0, 4.0], "low": 3.0, "high": 10.0})
    monkeypatch.setattr("stages.render.sections.answers.block_curves", lambda *args, **options: curves)
    monkeypatch.setattr("stages.render.sections.answers.last_block", lambda rows: rows.set_index("label"))
    theirs = {"objective": "imported", "weights": "a.pth", "format": "mae"}
    imported, built = (Results(study_of({"a": theirs} | more)) for more in ({}, {"r": "random"}))
    assert "uniform attention would give 16.5 px" in on_attention(built)[0]
    assert "uniform" not in on_attention(imported)[0]
    assert "Uniform attention" in measures_caption(built.study)
    assert "Uniform attention" not in measures_caption(imported.study)
    assert reach(built.study) is not None and reach(imported.study) is None
