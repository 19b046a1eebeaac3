"""What a tracker is told of one out: means over seeds, by block or by epoch."""

from pathlib import Path

import pandas as pd
import pytest

from stages.results.summary import blocks_of, history_of, metrics_of
from tests.render.synthetic import study_of, write_study


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, study_of({"cl": "contrastive", "r": "random"}))


def test_a_training_is_the_mean_over_its_seeds() -> None:
    losses = [pd.read_csv(f"models/cl/{seed}/history.csv")["loss"] for seed in (0, 1)]
    course = history_of(Path("models/cl"))
    assert course["loss"].tolist() == pytest.approx(((losses[0] + losses[1]) / 2).tolist())
    assert course.index.tolist() == list(range(1, 9)) and "seed" not in course
    assert history_of(Path("models/r")).empty


def test_analyses_are_told_by_block_and_predictions_are_not() -> None:
    attention = blocks_of(Path("results/analysis/attention/cl.csv"))
    table = pd.read_csv("results/analysis/attention/cl.csv")
    assert attention["nmi"].tolist() == pytest.approx(table.groupby("block")["nmi"].mean().tolist())
    assert not {"seed", "image", "head"} & set(attention)
    assert "unison.token.across" in blocks_of(Path("results/analysis/singular_values/cl.csv"))
    for other in ("results/probe/layerwise/cl.csv", "results/comparison.csv"):
        assert blocks_of(Path(other)).empty


def test_metrics_are_told_without_single_seeds() -> None:
    metrics = metrics_of(Path("results/probe/knn/cl.json"))
    assert "seeds" not in metrics and metrics["labels"]["shape"]["accuracy"] == pytest.approx(0.55)
