"""The answers to the questions follow the numbers, and say it where there are none."""

from pathlib import Path

import pandas as pd
import pytest

from stages.render.figures.captions import extremes
from stages.render.sections.answers import on_attention, on_combination, on_components, on_representations
from stages.results.study_results import Results
from tests.render.synthetic import study_of, write_csv

ARMS = {"cl": "contrastive", "mim": "masked", "both": {"objective": "hybrid", "cl_weight": 0.2}}
LABELS = {"cl": "CL", "mim": "MIM", "both": "Both"}


def results(*names: str, seeds: tuple[int, ...] = (0,)) -> Results:
    """Results of some of the arms."""
    return Results(study_of({name: ARMS[name] for name in names}, seeds=[*seeds], labels=LABELS))


def accuracies(**by_label: tuple[float, float]) -> pd.DataFrame:
    """label -> linear and fine-tuned accuracy."""
    rows = [
        {"label": label, "evaluation": evaluation, "labels": "class", "mean": value}
        for label, values in by_label.items()
        for evaluation, value in zip(("linear", "fine-tuned"), values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_extremes_are_the_highest_and_the_lowest() -> None:
    values = pd.DataFrame({"mean": [2.0, 5.0, 3.0]}, index=["A", "B", "C"])
    values = values.assign(low=values["mean"] - 0.1, high=values["mean"] + 0.1)
    assert extremes(values, unit="px") == "B, 5.0 [4.9, 5.1] px, and lowest in A, 2.0 [1.9, 2.1] px"
    assert extremes(values[:1]) == "A, 2.0 [1.9, 2.1]"
    values.loc["A"] = [1e-5, 0.5e-5, 2e-5]
    assert extremes(values, unit="px").endswith("lowest in A, below 0.1 px")


def test_the_hybrid_is_held_against_the_better_of_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = accuracies(CL=(0.50, 0.60), MIM=(0.40, 0.70), Both=(0.55, 0.68))
    first, second = on_combination(results(*ARMS), found)
    assert first == (
        "Over the better of CL and MIM, Both gains +5.0 in the linear probe and −2.0 fine-tuned "
        "(points of accuracy)."
    )
    assert second == ""  # no gradients were kept

    def write_gradients(seed: int, dots: tuple[float, float]) -> None:
        frame = pd.DataFrame({"seed": seed, "epoch": 2, "block": [1, 2], "dot": dots, "cl_weight": 0.2})
        others = dict.fromkeys(("square_cl", "square_mim", "half_cl", "half_mim", "norm_cl", "norm_mim"), 1.0)
        write_csv(tmp_path / f"models/both/{seed}/gradients.csv", frame.assign(**others, batches=4))

    write_gradients(0, (0.2, -0.6))
    second = on_combination(results(*ARMS), found)[1]
    assert second.endswith("have a cosine of −0.20: one training does not tell whether they pull apart.")
    for dots, verdict in (
        ([-0.6, -0.7, -0.65], "they pull apart."),
        ([-0.6, 0.1, -0.3], "they do not clearly pull apart."),
        ([0.6, 0.7, 0.65], "they pull the same way."),
    ):
        for seed, dot in enumerate(dots):
            write_gradients(seed, (dot, dot))
        several = results(*ARMS, seeds=(0, 1, 2))
        assert on_combination(several, found)[1].endswith(verdict), dots
    assert on_combination(results("cl", "mim"), found) == (
        "This study has no hybrid beside both of its parents.",
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
    assert first == "A linear probe does best on block 2 of 2 for CL and 1 of 2 for MIM."
    assert second.startswith("From that block to the last, MIM loses most: −75.0 [")
    alone = on_components(results("cl"), probes=["layerwise"], label_sets=["class"])
    assert alone[1] == "No encoder has lost accuracy from that block to its last."
    assert on_components(results("cl", "mim"), probes=["knn"], label_sets=[]) == (
        "This study does not probe single blocks.",
        "",
    )


def test_what_was_not_measured_is_said() -> None:
    nothing = Results(results("cl").study.model_copy(update={"analyses": {}}))
    assert on_attention(nothing)[0] == "This study does not measure attention."
    assert on_representations(nothing) == ("This study does not measure representations.", "")
