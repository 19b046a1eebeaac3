"""The change of accuracy after the reset of a block is paired by image."""

from pathlib import Path

import pandas as pd
import pytest

from stages.render.figures.lost_blocks import (
    block_losses,
    losses_alt,
    losses_caption,
    losses_figure,
    losses_findings,
)
from stages.render.figures.style import palette
from stages.render.words import signed
from stages.results.study_results import Results
from tests.render.synthetic import study_of, write_study

STUDY = study_of({"random": "random", "cl": "contrastive"}, labels={"random": "Random init", "cl": "CL"})


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path, STUDY)


def accuracy(seed: int, trial: str, level: float, labels: str) -> float:
    table = pd.read_csv("results/robustness/cl.csv").query("seed == @seed")
    rows = table[(table["trial"] == trial) & (table["level"] == level) & (table["head"] == "fine-tuned")]
    rows = rows[rows["labels"] == labels]
    return float((rows["truth"] == rows["predicted"]).mean())


def test_the_change_is_that_of_the_accuracies(results: Results) -> None:
    losses = block_losses(results)
    assert len(losses) == 2 * 2 * 3 and sorted(losses["block"].unique()) == [1, 2, 3]
    row = losses[(losses["label"] == "CL") & (losses["labels"] == "texture") & (losses["block"] == 2)].iloc[0]
    changes = [
        100 * (accuracy(seed, "reinitialised", 2.0, "texture") - accuracy(seed, "clean", 0.0, "texture"))
        for seed in (0, 1)
    ]
    assert row[["seed_0", "seed_1"]].tolist() == pytest.approx(changes)
    assert row["mean"] == pytest.approx(sum(changes) / 2)
    assert row["low"] <= row["mean"] <= row["high"]
    figure = losses_figure(losses, inks=palette(STUDY))
    assert len(figure.axes) == 2
    assert "mean over 2 trainings" in losses_caption(losses) and "CL" in losses_alt(losses)
    worst = losses[(losses["label"] == "CL") & (losses["labels"] == "texture")].sort_values("mean").iloc[0]
    words = f"block {worst['block']} for CL ({signed(worst['mean'])})"
    assert words in losses_findings(losses).partition(" on texture (change in points): ")[2]


def test_studies_without_resets_have_no_rows(results: Results) -> None:
    for name in STUDY.arms:
        path = Path(f"results/robustness/{name}.csv")
        table = pd.read_csv(path)
        table[table["trial"] != "reinitialised"].to_csv(path, index=False)
    assert block_losses(results).empty


def test_stimuli_of_other_images_do_not_matter(results: Results) -> None:
    alone = block_losses(results)
    for name in STUDY.arms:  # as many as there are, numbered from 0 by themselves, or more
        path = Path(f"results/robustness/{name}.csv")
        table = pd.read_csv(path)
        stimuli = table[table["trial"] == "clean"].assign(
            trial="sketches", image=lambda rows: rows["image"] + 7
        )
        pd.concat([table, stimuli]).to_csv(path, index=False)
    pd.testing.assert_frame_equal(block_losses(Results(STUDY, results.root)), alone)
