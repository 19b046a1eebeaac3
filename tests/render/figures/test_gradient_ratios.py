"""The realised gradient ratio and λ of an arm follow from its table of gradients."""

import math
import warnings
from pathlib import Path

import pandas as pd
import pytest

from stages.render.figures.gradient_ratios import realised
from stages.render.figures.gradients import gradient_findings
from stages.render.figures.sweep_places import along_ratio, along_weight
from stages.render.sections.sweep_findings import ratios_in_words
from stages.results.gradients import gradient_ratio
from stages.results.study_results import Results
from stages.study.study import Study
from tests.render.synthetic import study_of, write_csv

WEIGHTS = {"low": 0.2, "middle": 0.5, "high": 0.8}
ARMS = {"cl": "contrastive", "mim": "masked", "random": "random"} | {
    name: {"objective": "hybrid", "cl_weight": weight} for name, weight in WEIGHTS.items()
}
MATCHED = {"matched": {"objective": "hybrid", "gradient_ratio": 1.0}}


def write_gradients(arm: str, seed: int, *, norms: tuple[float, float], weights: tuple[float, ...]) -> None:
    """Write the gradients of two blocks, with the same norms in all epochs."""
    rows = [
        {"seed": seed, "epoch": epoch, "block": block, "cl_weight": weight, "batches": 12}
        | {"dot": 0.0, "square_cl": 1.0, "square_mim": 1.0, "half_cl": 0.5, "half_mim": 0.5}
        | {"norm_cl": norms[0], "norm_mim": norms[1]}
        for epoch, weight in enumerate(weights, start=1)
        for block in (1, 2)
    ]
    write_csv(Path(f"models/{arm}/{seed}/gradients.csv"), pd.DataFrame(rows))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    for name, weight in WEIGHTS.items():
        for seed, norms in ((0, (1.0, 2.0)), (1, (1.0, 8.0))):
            write_gradients(name, seed, norms=norms, weights=(weight, weight))
    for seed in (0, 1):
        write_gradients("matched", seed, norms=(1.0, 4.0), weights=(0.9, 16 / 25))
    return study_of(ARMS | MATCHED, labels={"matched": "Matched"})


def test_the_ratio_is_a_geometric_mean_with_an_interval_over_trainings(study: Study) -> None:
    ratios = realised(Results(study))
    assert set(ratios) == {*WEIGHTS, "Matched"}
    low = ratios["low"]
    assert low.weight == pytest.approx(0.2) and low.ratio == pytest.approx(0.25 / 4)
    assert low.low < low.ratio < low.high and low.low * low.high == pytest.approx(low.ratio**2)
    matched = ratios["Matched"]
    assert matched.weight == pytest.approx(0.8)  # the odds of 0.9 and of 16/25 are 9 and 16/9: mean 4
    assert matched[1:] == pytest.approx((1, 1, 1))


def test_each_part_of_an_epoch_counts(study: Study) -> None:
    whole = realised(Results(study))["Matched"]
    for seed in (0, 1):
        path = Path(f"models/matched/{seed}/gradients.csv")
        write_csv(path, pd.read_csv(path).assign(epoch=1))
    assert realised(Results(study))["Matched"] == pytest.approx(whole)


def test_arms_lie_at_their_ratio_and_parents_are_horizontal_lines(study: Study) -> None:
    ratios = realised(Results(study))
    places = along_ratio(study, ratios)
    assert {label for label, (_, _, x) in places.items() if x != x} == {"cl", "mim", "random"}
    assert places["middle"] == ("hybrid", "low", pytest.approx(0.25))
    assert places["Matched"] == ("Matched", "Matched", pytest.approx(1))
    assert along_weight(study, ratios)["Matched"][2] == pytest.approx(0.8)
    assert "Matched" not in along_weight(study)
    assert along_ratio(study, {}) == {}


def test_the_findings_name_every_ratio_and_the_balance(study: Study) -> None:
    ratios = realised(Results(study))
    words = ratios_in_words(along_ratio(study, ratios), ratios)
    assert "0.063 at λ = 0.2, 0.25 at λ = 0.5 and 1.0 at λ = 0.8." in words
    assert "Matched: ratio 1.0 with λ = 0.8." in words
    shorter = {label: one._replace(ratio=2 * one.ratio) for label, one in ratios.items()}
    # Linear in log odds: the ratio is 1 at odds of 2.
    assert "the same norm near λ = 0.67." in ratios_in_words(along_ratio(study, ratios), shorter)


def test_weights_of_0_and_1_are_a_ratio_of_0_and_a_word(study: Study) -> None:
    for weight, ratio, words in ((0.0, 0.0, "is 0 times that of"), (1.0, math.inf, "MIM has no weight.")):
        write_gradients("matched", 0, norms=(1.0, 4.0), weights=(weight, weight))
        rows = pd.read_csv("models/matched/0/gradients.csv").assign(label="Matched")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert gradient_ratio(rows) == ratio
            assert words in gradient_findings(rows)
