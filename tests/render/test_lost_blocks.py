"""Blocks that were lost: the change is paired, image by image."""

from pathlib import Path

import pandas as pd
import pytest

from stages.render.lost_blocks import block_losses, losses_alt, losses_caption, losses_figure
from stages.render.robustness import decisions
from stages.render.style import palette
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


def accuracy(name: str, trial: str, level: float, labels: str) -> float:
    table = pd.read_csv(f"results/robustness/{name}.csv")
    own = table[(table["trial"] == trial) & (table["level"] == level) & (table["head"] == "fine-tuned")]
    own = own[own["labels"] == labels]
    return float((own["truth"] == own["predicted"]).mean())


def test_the_change_is_that_of_the_accuracies() -> None:
    losses = block_losses(decisions(ARMS))
    assert len(losses) == 2 * 2 * 3 and sorted(losses["block"].unique()) == [1, 2, 3]
    own = losses[(losses["label"] == "CL") & (losses["labels"] == "texture") & (losses["block"] == 2)].iloc[0]
    changes = [
        100 * (accuracy(name, "reinitialised", 2.0, "texture") - accuracy(name, "clean", 0.0, "texture"))
        for name in ("cl_a", "cl_b")
    ]
    assert own["mean"] == pytest.approx(sum(changes) / 2)
    assert own["low"] <= own["mean"] <= own["high"]
    figure = losses_figure(losses, inks=palette(ARMS))
    assert len(figure.axes) == 2
    worst = losses[(losses["labels"] == "shape") & (losses["label"] == "CL")]
    block = int(worst.loc[worst["mean"].idxmin(), "block"])
    assert f"CL block {block} (" in losses_caption(losses) and f"CL block {block} (" in losses_alt(losses)


def test_what_was_not_measured_is_not_there() -> None:
    for name in ARMS:
        path = Path(f"results/robustness/{name}.csv")
        table = pd.read_csv(path)
        table[table["trial"] != "reinitialised"].to_csv(path, index=False)
    assert block_losses(decisions(ARMS)).empty


def test_stimuli_of_other_images_do_not_matter() -> None:
    alone = block_losses(decisions(ARMS))
    for name in ARMS:  # as many as there are, numbered from 0 by themselves, or more
        path = Path(f"results/robustness/{name}.csv")
        table = pd.read_csv(path)
        stimuli = table[table["trial"] == "clean"].assign(
            trial="sketches", image=lambda rows: rows["image"] + 7
        )
        pd.concat([table, stimuli]).to_csv(path, index=False)
    pd.testing.assert_frame_equal(block_losses(decisions(ARMS)), alone)
