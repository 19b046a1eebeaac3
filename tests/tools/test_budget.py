"""Trainings in order of value until the time is up."""

import subprocess
import time

import pytest
import yaml

from stages.study.errors import StudyError
from stages.study.params import validate
from stages.tools import budget
from stages.tools.budget import by_value, train_for
from stages.tools.preset import merge
from stages.tools.trainings import Lacking
from tests.project import ROOT


def missing(arms, seeds):
    return [Lacking("pretrain", arm, seed) for arm in arms for seed in seeds]


def study_with(*presets):
    """params.yaml under presets."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for preset in presets:
        merge(values, yaml.safe_load((ROOT / f"stages/presets/{preset}.yaml").read_text()))
    return validate(values)


def test_whole_seeds_of_the_arms_with_most_seeds_come_first():
    study = study_with("cifar10", "cifar10-gpu")
    everything = [
        Lacking("pretrain", name, seed)
        for name, arm in study.arms.items()
        for seed in arm.seeds or study.seeds
    ]
    order = [(training.arm, training.seed) for training in by_value(study, everything)]
    assert order == [
        *((arm, seed) for seed in range(5) for arm in ("cl", "mim", "hybrid")),
        *(("hybrid_matched", seed) for seed in range(3)),
        *((arm, seed) for seed in range(2) for arm in ("mae", "latent")),
        *((arm, 0) for arm in ("layered", "dino", "supervised")),
    ]


def test_the_rate_of_the_preset_is_at_most_that_of_the_square_root_rule():
    small, large = study_with("cifar10").pretrain, study_with("cifar10", "cifar10-gpu").pretrain
    assert (small.batch_size, large.batch_size, large.precision) == (256, 1024, "bf16-mixed")
    assert small.peak_lr <= large.peak_lr <= 2 * small.peak_lr


@pytest.fixture
def commands(monkeypatch):
    """The command of each training, by its seed; the processes that were started."""
    started = []

    def use(by_seed):
        def start(training, environment):
            started.append(subprocess.Popen(by_seed[training.seed], env=environment))
            return started[-1]

        monkeypatch.setattr(budget, "start", start)
        monkeypatch.setattr(budget, "lacking", lambda stage: missing(["cl"], by_seed))
        monkeypatch.setattr(budget, "load_params", lambda: None)
        monkeypatch.setattr(budget, "read_manifest", lambda: None)
        monkeypatch.setattr(budget, "by_value", lambda study, trainings: trainings)
        return started

    return use


def test_trainings_run_until_the_time_is_up_and_then_stop(commands):
    started = commands({0: ["true"], 1: ["sleep", "60"], 2: ["sleep", "60"], 3: ["true"]})
    before = time.monotonic()
    assert train_for(1.0, jobs=2) == "1 training done, 2 stopped (cl 1, cl 2), 1 not started"
    assert time.monotonic() - before < 10
    assert [process.returncode for process in started] == [0, -15, -15]


def test_trainings_share_the_cores(commands, tmp_path):
    commands({0: ["sh", "-c", f"echo $OMP_NUM_THREADS > {tmp_path}/threads"]})
    assert train_for(10.0, jobs=1000) == "1 training done, 0 stopped, 0 not started"
    assert (tmp_path / "threads").read_text() == "1\n"


def test_a_training_that_does_not_stop_is_killed(commands, monkeypatch):
    monkeypatch.setattr(budget, "GRACE", 0.3)
    started = commands({0: ["sh", "-c", "trap '' TERM; exec sleep 60"]})
    train_for(0.5, jobs=1)
    assert [process.returncode for process in started] == [-9]


def test_a_failure_is_named_and_the_others_run(commands):
    commands({0: ["false"], 1: ["true"]})
    with pytest.raises(StudyError, match=r"1 training failed \(cl 0\); 1 training done, 0 stopped"):
        train_for(10.0, jobs=1)


def test_what_ends_by_itself_when_the_time_is_up_was_not_stopped(commands, monkeypatch):
    """One training has ended since it was last looked at, another failed instead of stopping."""
    monkeypatch.setattr(budget, "LOOK", 1.0)
    commands({0: ["true"]})
    assert train_for(0.5, jobs=1) == "1 training done, 0 stopped, 0 not started"
    commands({0: ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"]})
    with pytest.raises(StudyError, match=r"1 training failed \(cl 0\); 0 trainings done, 0 stopped"):
        train_for(0.5, jobs=1)


def test_before_images_are_prepared_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match="prepare"):
        train_for(0.5, jobs=1)


def test_nothing_is_left_running_after_ctrl_c(commands, monkeypatch):
    started = commands({0: ["sleep", "60"], 1: ["sleep", "60"]})
    start = budget.start

    def interrupted(training, environment):
        if training.seed == 1:
            raise KeyboardInterrupt
        return start(training, environment)

    monkeypatch.setattr(budget, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_for(10.0, jobs=2)
    assert [process.returncode for process in started] == [-15]
