"""What the store lacks, before and after trainings of it."""

import shutil

import pytest

from stages.study.errors import StudyError
from stages.study.timings import Run
from stages.tools import trainings
from stages.tools.trainings import Lacking, lacking, longest_first
from tests.forked import succeed
from tests.project import copy_project, edit

ARMS = ("random", "cl", "mim", "hybrid")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Four arms, one of which takes no time, before their images are prepared."""
    monkeypatch.chdir(copy_project(tmp_path, changes={"seeds": [0, 7]}))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def test_each_training_is_lacking_until_its_result_is_in_the_store_or_in_an_out(project):
    assert lacking(*trainings.STAGES) == []
    succeed(project, "prepare")
    everything = [Lacking("pretrain", arm, seed) for arm in ARMS for seed in (0, 7)]
    assert lacking(*trainings.STAGES) == everything
    assert everything[1].command == "-m stages.pretrain --arm random --seed 7"

    succeed(project, "pretrain", "--arm", "random", "--seed", "7")
    assert lacking("pretrain") == [training for training in everything if training != everything[1]]
    succeed(project, "pretrain", "--arm", "random")
    shutil.rmtree(project / "scratch")  # the out has them
    assert lacking("pretrain") == everything[2:]
    assert lacking("finetune") == [Lacking("finetune", "random", seed) for seed in (0, 7)]
    assert lacking("segment") == [Lacking("segment", "random", seed) for seed in (0, 7)]

    weights = project / "models/random/7/encoder.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])  # DVC will restore the encoder before anything is trained on top of it
    assert lacking("finetune", "segment") == []
    weights.write_bytes(content)

    (project / "models/random").rename(project / "models/untrained")  # as if the arm was renamed
    assert lacking("pretrain") == everything[2:]
    assert not (project / "scratch/trainings").exists()  # nothing is written


def test_before_images_are_prepared_the_command_says_so(project):
    with pytest.raises(StudyError, match="prepare"):
        trainings.commands(["pretrain"])


def test_an_arm_whose_weights_are_missing_is_an_error_and_not_left_out(project):
    succeed(project, "prepare")
    mae = {"objective": "imported", "weights": "../nowhere.pth", "format": "mae", "heads": 2}
    edit(project, {"arms": {"mae": mae}})
    with pytest.raises(StudyError, match=r"nowhere\.pth"):
        lacking("pretrain")


def test_the_longest_come_first_and_the_unknown_before_them(monkeypatch):
    runs = [
        Run(f"pretrain@{arm}-{seed}", process=1, began=0.0, outcome="done", seconds=seconds)
        for arm, seed, seconds in (("cl", 0, 9.0), ("mim", 0, 5.0), ("mim", 1, 11.0))
    ]
    runs.append(Run("pretrain@cl", process=1, began=0.0, outcome="done", seconds=99.0))
    monkeypatch.setattr(trainings, "read_runs", lambda: runs)
    missing = [Lacking("pretrain", arm, seed) for arm in ("cl", "mim", "dino") for seed in (2, 3)]
    assert [training.arm for training in longest_first(missing)] == ["dino"] * 2 + ["mim"] * 2 + ["cl"] * 2
