"""Gates against closed forms, and what they do with the files of a study."""

import numpy as np
import pandas as pd
import pytest

from stages.claims.gates import (
    BALANCE,
    BEYOND_MEAN,
    CONVERGED,
    FAILED,
    LEARNT,
    NOT_MEASURED,
    PASSED,
    REPORTED,
    TUNED,
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
from stages.study.paths import finetune_dir, gradients_table, model_dir, probe_predictions
from stages.study.settings import Arm


def test_the_last_fifth_of_a_curve():
    assert last_gain([0.1 * epoch for epoch in range(1, 11)]) == pytest.approx(0.2)
    assert last_gain([0.0, 0.5, 0.8]) == pytest.approx(0.18)  # three epochs: the last 0.6 of one
    assert last_gain([0.3, 0.3, 0.3]) == 0.0
    assert has_converged(0.004) and has_converged(-0.1) and not has_converged(0.005)


def test_one_epoch_cannot_show_convergence():
    status, gain, words = convergence([0.4])
    assert (status, gain) == (FAILED, None) and words.endswith("one epoch cannot show convergence")
    assert convergence([0.4, 0.4])[0] == PASSED
    status, gain, words = convergence([0.2, 0.4])  # the last fifth of two: 0.4 of one epoch
    assert status == FAILED and gain == pytest.approx(0.08)
    assert words == (
        "fine-tuning of the untrained encoder: +8.00 points over the last fifth of the epochs; "
        "required: less than 0.5"
    )


def test_what_is_no_number_passes_no_gate():
    assert convergence([0.2, 0.2, np.nan])[0] == FAILED
    # A gain just below the limit must not read like the limit.
    assert "+0.46 points" in convergence([0.4, 0.4, 0.4, 0.4, 0.4046])[2]
    assert not has_learnt(Estimate(np.nan, np.nan, 5.0, (), 0.0, "methods", None, None))
    assert not is_below(np.array([0.1, np.nan]), np.ones(2))


@pytest.mark.parametrize(
    ("effect", "se", "learnt"), [(0.02, 0.01, True), (0.019, 0.001, False), (0.05, 0.03, False)]
)
def test_a_probe_must_be_better_by_2_points_and_2_standard_errors(effect, se, learnt):
    assert has_learnt(Estimate(effect, se, 5.0, (), 0.0, "methods", None, None)) == learnt


def test_a_loss_must_be_clearly_below_that_of_the_mean():
    mean = np.array([1.0, 1.0, 2.0])
    assert is_below(0.9 * mean, mean) and not is_below(0.96 * mean, mean)
    assert not is_below(np.array([0.6, 1.2, 1.6]), mean)  # below on average, but trainings differ too much
    assert is_below(np.array([0.9]), np.array([1.0])) and not is_below(np.array([0.95]), np.array([1.0]))
    # Two standard errors count: these shares are .9 on average, with a standard error of .02 or .03.
    assert is_below(np.array([0.88, 0.92]), np.ones(2)) and not is_below(np.array([0.87, 0.93]), np.ones(2))


def test_a_claim_rests_on_the_gates_of_its_arms():
    gates = [Gate(CONVERGED, "random", "failed", 0.1, ""), Gate("learnt", "cl", "passed", 0.3, "")]
    small = {"width": 32, "heads": 2}
    study = arms(
        load_params(),
        random=Arm(objective="random"),
        random_s=Arm(objective="random", **small),
        cl=Arm(objective="contrastive"),
        mim=Arm(objective="masked"),
        mim_s=Arm(objective="masked", **small),
    )
    gates.append(Gate(CONVERGED, "random_s", "failed", 0.1, ""))
    assert rests_on(gates, arms=["mim"], tuned=False, study=study) == []
    assert rests_on(gates, arms=["cl"], tuned=False, study=study) == gates[1:2]
    assert rests_on(gates, arms=["cl"], tuned=True, study=study) == gates[:2]
    assert rests_on(gates, arms=["mim_s"], tuned=True, study=study) == gates[2:]


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False)


def test_what_a_study_measured_decides_and_what_it_did_not_is_said(tmp_path):
    study = load_params().model_copy(update={"seeds": [0, 1]})
    tables = Tables(Results(study, tmp_path))
    all_gates = check_gates(tables)
    assert {gate.status for gate in all_gates} == {"not measured"}
    assert [gate.arm for gate in all_gates if gate.name == "learnt"] == ["cl", "mim", "hybrid"]
    epochs = {"epoch": [1, 2, 3], "loss": [1.0, 0.9, 0.8]}
    for seed in (0, 1):
        write(finetune_path(tmp_path, seed), seed=seed, **epochs, accuracy=[0.2, 0.3, 0.4])
        write(tmp_path / model_dir("mim", seed) / "history.csv", seed=seed, **epochs, surroundings=[1.0] * 3)
        norms = {"block": 1, "norm_cl": 2.0, "norm_mim": 1.0, "cl_weight": 0.2, "batches": 4}
        norms |= dict.fromkeys(("dot", "square_cl", "square_mim", "half_cl", "half_mim"), 0.5)
        write(tmp_path / gradients_table("hybrid", seed), seed=seed, epoch=[1, 2, 3], **norms)
    gates = {gate.name: gate for gate in check_gates(Tables(Results(study, tmp_path)))}
    assert gates[CONVERGED].status == "failed" and gates[CONVERGED].value == pytest.approx(0.06)
    assert "+6.00 points over the last fifth" in gates[CONVERGED].words
    assert gates[BEYOND_MEAN].status == "passed" and gates[BEYOND_MEAN].value == pytest.approx(0.8)
    assert gates[BALANCE].status == "reported" and gates[BALANCE].value == pytest.approx(0.5)


def test_the_late_gain_of_a_trained_arm_is_reported_and_blocks_no_claim(tmp_path):
    study = arms(load_params(), random=Arm(objective="random"), mim=Arm(objective="masked"))
    ends = {0: [0.90, 0.90], 1: [0.90, 0.90], 2: [0.50, 0.62]}  # the last fifth of five epochs is one epoch
    for seed, end in ends.items():
        path = tmp_path / finetune_dir("mim", seed) / "history.csv"
        write(path, seed=seed, epoch=range(1, 6), loss=[1.0] * 5, accuracy=[0.2, 0.3, 0.4, *end])
    gate = gates_of(study, tmp_path)[TUNED, "mim"]
    assert gate.status == "reported" and gate.value == pytest.approx(0.04)
    assert gate.words == (
        "fine-tuning of mim: +4.00 points over the last fifth of the epochs; "
        "from +0.00 to +12.00 in single trainings"
    )
    write(tmp_path / finetune_dir("mim", 0) / "history.csv", seed=0, epoch=range(1, 6), loss=[1.0] * 5)
    assert gates_of(study, tmp_path)[TUNED, "mim"].value == pytest.approx(0.06)  # of the other two
    for seed in ends:
        path = tmp_path / finetune_dir("mim", seed) / "history.csv"
        write(path, seed=seed, epoch=[1], loss=[1.0], accuracy=[0.2])
    assert (TUNED, "mim") not in gates_of(study, tmp_path)


def finetune_path(root, seed):
    return root / finetune_dir("random", seed) / "history.csv"


def gates_of(study, root):
    return {(gate.name, gate.arm): gate for gate in check_gates(Tables(Results(study, root)))}


def arms(study, **chosen):
    return study.model_copy(update={"arms": chosen, "seeds": [0, 1, 2]})


def test_each_kind_of_arm_has_its_gates(tmp_path):
    study = arms(
        load_params(),
        untrained=Arm(objective="random"),
        other=Arm(objective="random"),
        small=Arm(objective="random", width=32, heads=2),
        cl=Arm(objective="contrastive"),
        cl_3=Arm(objective="contrastive", stop_epoch=3),
        mae=Arm(objective="autoencoder"),
        mim=Arm(objective="masked"),
        moco=Arm(objective="imported", weights="a.pth", format="moco_v3"),
        layers=Arm(objective="layered", cl_weight=0.2, mim_block=2),
        labels=Arm(objective="supervised"),
    )
    assert [*gates_of(study, tmp_path)] == [
        (CONVERGED, "untrained"),
        (CONVERGED, "small"),
        (LEARNT, "cl"),
        (LEARNT, "mae"),
        (LEARNT, "mim"),
        (BEYOND_MEAN, "mim"),
        (LEARNT, "moco"),
        (LEARNT, "layers"),
        (BALANCE, "layers"),
    ]
    without = arms(load_params(), cl=Arm(objective="contrastive"))
    (gate,) = gates_of(without, tmp_path).values()
    assert (gate.name, gate.status, gate.value) == (LEARNT, NOT_MEASURED, None)
    assert gate.words == "cl: the study has no untrained arm to compare with"


def probed(root, arm, *, right, seeds=(0, 1, 2), images=20):
    """Predictions of a linear probe, whose first images are right."""
    tables = [
        pd.DataFrame({"seed": seed, "image": range(images), "labels": "class", "pooling": pooling,
                      "truth": 1, "predicted": (np.arange(images) < count).astype(int), "chosen": chosen})
        for seed, of_seed in zip(seeds, right, strict=True)
        for pooling, count, chosen in (("mean", of_seed, True), ("cls", 0, False))
    ]  # fmt: skip
    path = root / probe_predictions("linear", arm)
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(tables).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("right", "status"), [((16, 17, 18), PASSED), ((9, 11, 13), FAILED), ((10, 10, 10), FAILED)]
)
def test_an_arm_has_learnt_what_its_chosen_probe_shows(tmp_path, right, status):
    untrained = (9, 10, 11)
    probed(tmp_path, "random", right=untrained)
    probed(tmp_path, "cl", right=right)
    study = arms(load_params(), random=Arm(objective="random"), cl=Arm(objective="contrastive"))
    gate = gates_of(study, tmp_path)[LEARNT, "cl"]
    gain = (np.mean(right) - np.mean(untrained)) / 20
    image = np.mean(
        [(np.arange(20) < a) * 1.0 - (np.arange(20) < b) for a, b in zip(right, untrained, strict=True)], 0
    )
    parts = [np.var(right, ddof=1) / 400 / 3, np.var(untrained, ddof=1) / 400 / 3, image.var(ddof=1) / 20]
    error = np.sum(parts) ** 0.5
    assert gate.value == pytest.approx(gain)
    assert gate.status == status == (PASSED if gain >= max(0.02, 2 * error) else FAILED)
    assert gate.words == (
        f"linear probe of cl minus that of the untrained encoder: {100 * gain:+.1f} points, "
        f"standard error {100 * error:.1f}; required: 2 points and 2 standard errors"
    )


def test_an_arm_is_compared_with_the_untrained_encoder_of_its_own_size(tmp_path):
    for name, right in (("random", (9, 10, 11)), ("random_s", (3, 4, 5)), ("cl_s", (7, 8, 9))):
        probed(tmp_path, name, right=right)
    small = {"width": 32, "heads": 2}
    sizes = {
        "random": Arm(objective="random"),
        "random_s": Arm(objective="random", **small),
        "cl_s": Arm(objective="contrastive", **small),
    }
    assert gates_of(arms(load_params(), **sizes), tmp_path)[LEARNT, "cl_s"].value == pytest.approx(4 / 20)
    del sizes["random_s"]
    assert gates_of(arms(load_params(), **sizes), tmp_path)[LEARNT, "cl_s"].value == pytest.approx(-2 / 20)


def test_an_imported_arm_is_one_encoder_that_must_have_learnt_too(tmp_path):
    probed(tmp_path, "random", right=(9, 10, 11))
    probed(tmp_path, "moco", right=(18,), seeds=(0,))
    study = arms(
        load_params(),
        random=Arm(objective="random"),
        moco=Arm(objective="imported", weights="a.pth", format="moco_v3"),
    )
    gate = gates_of(study, tmp_path)[LEARNT, "moco"]
    assert (gate.status, gate.value) == (PASSED, pytest.approx(0.4))


def test_the_last_epoch_is_compared_with_the_surroundings_and_a_history_without_them_says_so(tmp_path):
    study = arms(load_params(), mim=Arm(objective="masked"))
    for seed, loss in ((0, 0.99), (1, 0.97), (2, 0.98)):
        path = tmp_path / model_dir("mim", seed) / "history.csv"
        write(path, seed=seed, epoch=[1, 2], loss=[0.1, loss], surroundings=[1.0, 1.0])
    gate = gates_of(study, tmp_path)[BEYOND_MEAN, "mim"]
    assert (gate.status, gate.value) == (FAILED, pytest.approx(0.98))
    assert gate.words == (
        "loss of mim: 98 % of the loss of predicting the mean of the visible surroundings; required: "
        "clearly below 95 %"
    )
    for seed in (0, 1, 2):
        write(tmp_path / model_dir("mim", seed) / "history.csv", seed=seed, epoch=[1], loss=[0.1])
    gate = gates_of(study, tmp_path)[BEYOND_MEAN, "mim"]
    assert (gate.status, gate.value) == (NOT_MEASURED, None)
    assert gate.words == "mim: pre-training did not record 'surroundings'"
    for seed in (0, 1, 2):
        empty = {name: [] for name in ("seed", "epoch", "loss", "surroundings")}
        write(tmp_path / model_dir("mim", seed) / "history.csv", **empty)
    assert gates_of(study, tmp_path)[BEYOND_MEAN, "mim"].status == NOT_MEASURED


def test_a_gradient_ratio_is_reported_and_no_hybrid_without_gradients_fails(tmp_path):
    study = arms(load_params(), hybrid=Arm(objective="hybrid", cl_weight=0.2))
    gate = gates_of(study, tmp_path)[BALANCE, "hybrid"]
    assert (gate.status, gate.words) == (NOT_MEASURED, "hybrid: no gradients.csv")
    for seed in (0, 1, 2):
        norms = {"block": 1, "norm_cl": 12.0, "norm_mim": 1.0, "cl_weight": 0.2, "batches": 4}
        norms |= dict.fromkeys(("dot", "square_cl", "square_mim", "half_cl", "half_mim"), 0.5)
        write(tmp_path / gradients_table("hybrid", seed), seed=seed, epoch=[1, 2], **norms)
    gate = gates_of(study, tmp_path)[BALANCE, "hybrid"]
    assert (gate.status, gate.words) == (
        REPORTED,
        "weighted gradient of CL in hybrid: 3 times that of MIM",
    )
    for seed in (0, 1, 2):  # MIM has no weight
        write(
            tmp_path / gradients_table("hybrid", seed), seed=seed, epoch=[1, 2], **norms | {"cl_weight": 1.0}
        )
    gate = gates_of(study, tmp_path)[BALANCE, "hybrid"]
    assert (gate.value, gate.words) == (None, "weighted gradient of MIM in hybrid: none")
