import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages.study.errors import StudyError
from stages.study.params import validate
from stages.study.paths import write_json
from stages.tools import tune

TEXT = Path("params.yaml").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arms():
    return YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["arms"]


def test_trials_are_valid_arms_and_the_same_number_for_each(project):
    assert tune.draw(trials=3, seed=0) == "9 trials in params.yaml"
    study = validate(YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8")))
    assert [name for name in study.arms if name.startswith("cl_")] == [f"cl_trial_{i}" for i in range(3)]
    assert not any(name.startswith("random_") for name in study.arms)
    assert {tuple(arm.seeds) for name, arm in study.arms.items() if "_trial_" in name} == {(tune.SEED,)}


def test_drawing_again_replaces_trials_and_clearing_restores_the_arms(project):
    before = arms()
    tune.draw(trials=2, seed=0)
    tune.draw(trials=3, seed=1)
    assert sum("_trial_" in name for name in arms()) == 9
    tune.edit(lambda arms: None)
    assert arms() == before
    assert "# lambda in (1 - lambda) MIM" in Path("params.yaml").read_text(encoding="utf-8")


def test_what_an_arm_sets_for_its_objective_stays_in_its_trials(project):
    text = Path("params.yaml").read_text(encoding="utf-8")
    own = "cl: {objective: contrastive, objectives: {contrastive: {hidden_dim: 96, temperature: 0.3}}}"
    Path("params.yaml").write_text(text.replace("cl: {objective: contrastive}", own), encoding="utf-8")
    tune.draw(trials=2, seed=0)
    settings = arms()["cl_trial_1"]["objectives"]["contrastive"]
    assert settings["hidden_dim"] == 96 and settings["temperature"] != 0.3 and "crop_scale_min" in settings


def test_a_params_yaml_that_is_not_valid_is_one_line_and_stays(project):
    for text in (TEXT.replace("seeds:", "seeds: [", 1), TEXT.replace("width: 64", "width: 63")):
        Path("params.yaml").write_text(text, encoding="utf-8")
        for action in (lambda: tune.draw(trials=2, seed=0), tune.table):
            with pytest.raises(StudyError, match=r"params\.yaml"):
                action()
        assert Path("params.yaml").read_text(encoding="utf-8") == text


def test_every_arm_is_tried_at_the_same_quantiles_over_the_whole_range():
    cl = tune.trials_of({"objective": "contrastive"}, trials=8, seed=0)
    mim = tune.trials_of({"objective": "masked"}, trials=8, seed=0)
    assert [trial["lr"] for trial in cl] == [trial["lr"] for trial in mim]
    low, high, _ = tune.RECIPE["lr"]
    eighths = np.log([trial["lr"] / low for trial in cl]) / np.log(high / low) * 8
    assert sorted(eighths.astype(int)) == list(range(8))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_expected_best_is_the_mean_over_all_subsets(k):
    accuracies = [0.4, 0.1, 0.3, 0.35]
    subsets = [max(subset) for subset in combinations(accuracies, k)]
    assert tune.expected_best(accuracies)[k - 1] == pytest.approx(np.mean(subsets))


def test_the_table_ranks_by_validation_accuracy(project):
    with pytest.raises(StudyError, match="no trials"):
        tune.table()
    tune.draw(trials=2, seed=0)
    with pytest.raises(StudyError, match="dvc repro probe@cl_trial_0-attentive"):
        tune.table()
    for name in arms():
        if "_trial_" in name:
            accuracy = 0.3 if name.endswith("0") else 0.5
            labels = {"shape": {"validation": accuracy, "accuracy": 0.9}}
            path = tune.probe_metrics("attentive", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"labels": labels})
    lines = tune.table().splitlines()
    first = tune.probe_metrics("attentive", "cl_trial_0")
    assert lines[0] == "| cl | validation accuracy |"
    assert lines[2].endswith("| 50.0% |") and lines[3].endswith("| 30.0% |")
    assert "Expected best of cl: 40.0% of 1, 50.0% of 2 trials." in lines
    tune.draw(trials=2, seed=1)  # other trials of the same names
    assert not first.exists()
    with pytest.raises(StudyError, match="dvc repro probe@cl_trial_0-attentive"):
        tune.table()


def test_an_arm_without_ranges_is_named(project):
    text = Path("params.yaml").read_text(encoding="utf-8")
    layered = "arms:\n  both: {objective: layered, cl_weight: 0.2, mim_block: 0.5}"
    Path("params.yaml").write_text(re.sub(r"^arms:.*$", layered, text, count=1, flags=re.M), encoding="utf-8")
    expected = "9 trials in params.yaml; none of both, whose objective has no ranges"
    assert tune.draw(trials=3, seed=0) == expected


def test_a_trial_that_was_given_other_seeds_is_kept_and_not_replaced(project):
    text = Path("params.yaml").read_text(encoding="utf-8")
    own = "cl_trial_1: {objective: contrastive, lr: 3.0e-3}"
    line = "  cl: {objective: contrastive}"
    Path("params.yaml").write_text(text.replace(line, f"{line}\n  {own}"), encoding="utf-8")
    assert tune.edit(lambda arms: None) == "0 trials in params.yaml" and "cl_trial_1" in arms()
    with pytest.raises(StudyError, match=r"arms\.cl_trial_1 is an arm of yours; rename it"):
        tune.draw(trials=2, seed=0)
    assert "cl_trial_0" not in arms() and arms()["cl_trial_1"]["lr"] == 3.0e-3


def test_the_table_has_words_for_settings_that_are_no_numbers(project):
    text = Path("params.yaml").read_text(encoding="utf-8")
    own = "mim: {objective: masked, objectives: {masked: {target_window: null}}}"
    Path("params.yaml").write_text(text.replace("mim: {objective: masked}", own), encoding="utf-8")
    tune.draw(trials=1, seed=0)
    for name in arms():
        path = tune.probe_metrics("attentive", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"labels": {"shape": {"validation": 0.5, "accuracy": 0.9}}})
    assert "masked.target_window none" in tune.table()
