"""Gates against closed forms, and what they do with the files of a study."""

import numpy as np
import pandas as pd
import pytest

from stages.claims.gates import (
    BALANCE,
    BEYOND_MEAN,
    CONVERGED,
    FAILED,
    PASSED,
    Gate,
    check_gates,
    convergence,
    has_converged,
    has_learnt,
    is_below,
    last_gain,
    rests_on,
)
from stages.claims.inference import Estimate
from stages.claims.tables import Tables
from stages.results.study_results import Results
from stages.study.params import load_params
from stages.study.paths import finetune_dir, gradients_table, model_dir


def test_the_last_fifth_of_a_curve():
    assert last_gain([0.1 * epoch for epoch in range(1, 11)]) == pytest.approx(0.2)
    assert last_gain([0.0, 0.5, 0.8]) == pytest.approx(0.18)  # three epochs: the last 0.6 of one
    assert last_gain([0.3, 0.3, 0.3]) == 0.0
    assert has_converged(0.004) and has_converged(-0.1) and not has_converged(0.005)


def test_one_epoch_cannot_show_convergence():
    status, gain, words = convergence([0.4], arm="random")
    assert (status, gain) == (FAILED, None) and words.endswith("one epoch cannot show convergence")
    assert convergence([0.4, 0.4], arm="random")[0] == PASSED
    assert convergence([0.2, 0.4], arm="random")[0] == FAILED


@pytest.mark.parametrize(
    ("effect", "se", "learnt"), [(0.02, 0.01, True), (0.019, 0.001, False), (0.05, 0.03, False)]
)
def test_a_probe_must_be_better_by_2_points_and_2_standard_errors(effect, se, learnt):
    assert has_learnt(Estimate(effect, se, 5.0, (), 0.0, "methods", None, None)) == learnt


def test_a_loss_must_be_clearly_below_that_of_the_mean():
    mean = np.array([1.0, 1.0, 2.0])
    assert is_below(0.9 * mean, mean) and not is_below(0.96 * mean, mean)
    assert not is_below(np.array([0.6, 1.2, 1.6]), mean)  # below on average, but trainings differ too much
    assert is_below(np.array([0.9]), np.array([1.0]))


def test_a_claim_rests_on_the_gates_of_its_arms():
    gates = [Gate(CONVERGED, "random", "failed", 0.1, ""), Gate("learnt", "cl", "passed", 0.3, "")]
    assert rests_on(gates, arms=["mim"], tuned=False) == []
    assert rests_on(gates, arms=["cl"], tuned=False) == gates[1:]
    assert rests_on(gates, arms=["cl"], tuned=True) == gates


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False)


def test_what_a_study_measured_decides_and_what_it_did_not_is_said(tmp_path):
    study = load_params().model_copy(update={"seeds": [0, 1]})
    tables = Tables(Results(study, tmp_path))
    found = check_gates(tables)
    assert {gate.status for gate in found} == {"not measured"}
    assert [gate.arm for gate in found if gate.name == "learnt"] == ["cl", "mim", "hybrid"]
    epochs = {"epoch": [1, 2, 3], "loss": [1.0, 0.9, 0.8]}
    for seed in (0, 1):
        write(finetune_path(tmp_path, seed), seed=seed, **epochs, accuracy=[0.2, 0.3, 0.4])
        write(tmp_path / model_dir("mim", seed) / "history.csv", seed=seed, **epochs, surroundings=[1.0] * 3)
        norms = {"block": 1, "norm_cl": 2.0, "norm_mim": 1.0, "cl_weight": 0.2, "batches": 4}
        norms |= dict.fromkeys(("dot", "square_cl", "square_mim", "half_cl", "half_mim"), 0.5)
        write(tmp_path / gradients_table("hybrid", seed), seed=seed, epoch=[1, 2, 3], **norms)
    gates = {gate.name: gate for gate in check_gates(Tables(Results(study, tmp_path)))}
    assert gates[CONVERGED].status == "failed" and gates[CONVERGED].value == pytest.approx(0.06)
    assert "+6.0 points over the last fifth" in gates[CONVERGED].words
    assert gates[BEYOND_MEAN].status == "passed" and gates[BEYOND_MEAN].value == pytest.approx(0.8)
    assert gates[BALANCE].status == "reported" and gates[BALANCE].value == pytest.approx(0.5)


def finetune_path(root, seed):
    return root / finetune_dir("random", seed) / "history.csv"
