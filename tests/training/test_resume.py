"""Whatever stops a training and whatever befalls its checkpoints, it ends in the same bytes."""

import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from stages.study.lookup import plugins
from stages.training.checkpoints import Checkpoints
from tests.forked import forked
from tests.project import copy_project
from tests.training.interruptions import (
    kill_between_the_files_of_a_save,
    kill_in_the_middle_of_a_save,
    kill_in_the_middle_of_a_snapshot,
    limit_file_size,
    signal_at_step,
)

OBJECTIVES = plugins(Path("stages/objectives"), constant="OBJECTIVE")
for untrained in ("imported", "random"):
    OBJECTIVES.remove(untrained)
CHANGES = {
    "data": {"shapes_textures": {"train_images": 32, "test_images": 20}},
    # Two steps to an epoch; snapshots after the first one and after the third, the first of the second epoch.
    "pretrain": {"epochs": 3, "batch_size": 16, "snapshots": [0.2, 0.5]},
    # With all that draws random numbers.
    "finetune": {"epochs": 3, "batch_size": 16, "mixup": 0.8, "cutmix": 1.0, "drop_path": 0.2},
    "arms": {name: {"objective": name} for name in OBJECTIVES}
    | {"layered": {"objective": "layered", "cl_weight": 0.2, "mim_block": 0.5}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A prepared project with an arm for each objective, named like it."""
    project = copy_project(tmp_path_factory.mktemp("resume"), changes=CHANGES)
    for words in (("prepare",), ("pretrain", "--arm", "random")):
        done = forked(project, *words)
        assert done.returncode == 0, done.stderr
    return project


def outs(project, stage, arm):
    """Every file that a training leaves as a result, and its bytes."""
    folder = project / ("models" if stage == "pretrain" else "results/finetune")
    metrics = files(folder, folder.glob(f"{arm}.json"))
    return files(folder / arm / "0", (folder / arm / "0").rglob("*")) | metrics


def files(folder, paths):
    """The bytes of files, by their place in a folder."""
    return {f"{path.relative_to(folder)}": path.read_bytes() for path in paths if path.is_file()}


def start_anew(project, stage, arm):
    """Forget a training and its results."""
    results = project / ("models" if stage == "pretrain" else "results/finetune")
    for folder in (project / "scratch", results / arm):
        shutil.rmtree(folder, ignore_errors=True)
    (results / f"{arm}.json").unlink(missing_ok=True)


def state(project, stage, arm):
    """The folder of the checkpoints of the one training that has not ended."""
    folders = (project / "scratch/trainings").iterdir()
    (folder,) = (path for path in folders if not (path / "result").exists())
    return folder


def succeed(project, stage, arm):
    """Train to the end and return what was said and the bytes of the results."""
    done = forked(project, stage, "--arm", arm)
    assert done.returncode == 0, done.stderr
    assert not list((project / "scratch").rglob("*.part"))
    return done.stdout, outs(project, stage, arm)


@pytest.mark.parametrize(
    ("stage", "arm"), [*(("pretrain", name) for name in OBJECTIVES), ("finetune", "random")]
)
def test_killed_between_saves_and_in_a_save_it_ends_in_the_same_bytes(project, stage, arm):
    output, whole = succeed(project, stage, arm)
    assert "resumed" not in output and "history.csv" in whole and "encoder.safetensors" in whole
    assert ("gradients.csv" in whole) == (arm in ("hybrid", "layered"))
    encoders = {whole[name] for name in whole if name.endswith("encoder.safetensors")}
    assert len(encoders) == (3 if stage == "pretrain" else 1)  # two snapshots and the end, all different
    start_anew(project, stage, arm)
    # At the last step of the second epoch, whose first one is lost; then in the save after that epoch.
    for kill in (partial(signal_at_step, 4, number=signal.SIGKILL), kill_in_the_middle_of_a_save):
        assert forked(project, stage, "--arm", arm, first=kill).returncode == -signal.SIGKILL
        assert not outs(project, stage, arm)
    assert list(state(project, stage, arm).glob(".epoch-00002.pt.*.part"))  # it was in the middle
    output, resumed = succeed(project, stage, arm)
    assert f"{stage} {arm} seed 0: resumed at epoch 1/3" in output and "aside" not in output
    assert resumed == whole


@pytest.fixture(scope="module")
def masked(project):
    """The results of the arm `masked`, never stopped; it is the fastest one."""
    return succeed(project, "pretrain", "masked")[1]


def interrupt(project, interruption, arm="masked"):
    """Pre-train until something stops it."""
    return forked(project, "pretrain", "--arm", arm, first=interruption)


def test_killed_between_a_checksum_and_its_checkpoint_it_takes_neither(project, masked):
    start_anew(project, "pretrain", "masked")
    assert interrupt(project, partial(signal_at_step, 4, number=signal.SIGKILL)).returncode < 0
    assert interrupt(project, kill_between_the_files_of_a_save).returncode == -signal.SIGKILL
    names = {path.name for path in state(project, "pretrain", "masked").glob("epoch-*")}
    assert names == {"epoch-00001.pt", "epoch-00001.sha256", "epoch-00002.sha256"}
    output, resumed = succeed(project, "pretrain", "masked")
    assert "resumed at epoch 1/3" in output and "aside" not in output and resumed == masked


def test_killed_in_the_middle_of_a_snapshot_it_keeps_no_half_of_one(project, masked):
    start_anew(project, "pretrain", "masked")
    assert interrupt(project, kill_in_the_middle_of_a_snapshot).returncode == -signal.SIGKILL
    snapshots = state(project, "pretrain", "masked") / "snapshots"
    assert [path.suffix for path in snapshots.iterdir()] == [".part"]
    assert succeed(project, "pretrain", "masked")[1] == masked


def test_a_snapshot_that_somebody_removed_is_one_line_and_no_result(project, masked):
    start_anew(project, "pretrain", "masked")
    assert interrupt(project, partial(signal_at_step, 6, number=signal.SIGKILL)).returncode < 0
    folder = state(project, "pretrain", "masked")
    shutil.rmtree(folder / "snapshots/0.2")
    done = forked(project, "pretrain", "--arm", "masked")
    assert done.returncode == 2 and not (folder / "result").exists()
    assert done.stderr == (
        f"pretrain@masked: scratch/trainings/{folder.name}/snapshots/0.2 is missing and cannot be "
        f"restored; delete scratch/trainings/{folder.name} to train again\n"
    )


def test_stopped_by_a_signal_it_says_so_in_one_line_and_keeps_its_state(project, masked):
    start_anew(project, "pretrain", "masked")
    saved = "saved up to epoch {} of 3; the same command continues from there"
    for step, number, code, message in (
        (1, signal.SIGINT, 130, "interrupted; the same command continues from the last checkpoint"),
        (4, signal.SIGTERM, 143, f"stopped by SIGTERM; {saved.format(1)}"),
        (1, signal.SIGINT, 130, f"interrupted; {saved.format(1)}"),
        (4, signal.SIGINT, 130, f"interrupted; {saved.format(2)}"),
    ):
        done = interrupt(project, partial(signal_at_step, step, number=number))
        assert (done.returncode, done.stderr) == (code, f"pretrain@masked: {message}\n")
        assert not outs(project, "pretrain", "masked")
    output, resumed = succeed(project, "pretrain", "masked")
    assert "resumed at epoch 2/3" in output and resumed == masked


def test_the_last_checkpoint_is_that_of_the_highest_number(tmp_path):
    for number in (9, 99_999, 100_000):
        (tmp_path / f"epoch-{number:05d}.pt").touch()
    assert Checkpoints("pretrain cl seed 0", tmp_path)._files()[-1].name == "epoch-100000.pt"


def test_without_room_the_last_checkpoint_stays_and_the_run_goes_on_when_there_is_some(project, masked):
    start_anew(project, "pretrain", "masked")
    assert interrupt(project, partial(signal_at_step, 4, number=signal.SIGKILL)).returncode < 0
    folder = state(project, "pretrain", "masked")
    before = files(folder, folder.rglob("*"))
    size = len(before["epoch-00001.pt"])
    done = interrupt(project, partial(limit_file_size, size // 2))
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"pretrain@masked: scratch/trainings/{folder.name}/epoch-00002.pt: File too large; "
    )
    assert f" {size / 1e6:.1f} MB needed" in done.stderr and "free; free some space" in done.stderr
    assert done.stderr.count("\n") == 1
    assert files(folder, folder.rglob("*")) == before
    output, resumed = succeed(project, "pretrain", "masked")
    assert "resumed at epoch 1/3" in output and resumed == masked


def test_a_checkpoint_of_another_training_is_set_aside_and_the_one_before_it_used(project, masked):
    start_anew(project, "pretrain", "autoencoder")
    start_anew(project, "pretrain", "masked")
    folders = []
    for arm in ("masked", "autoencoder"):
        assert interrupt(project, partial(signal_at_step, 6, number=signal.SIGKILL), arm).returncode < 0
        folders.append(
            next(path for path in (project / "scratch/trainings").iterdir() if path not in folders)
        )
    ours, theirs = folders
    for ending in ("pt", "sha256"):
        shutil.copy(theirs / f"epoch-00002.{ending}", ours / f"epoch-00002.{ending}")
    output, resumed = succeed(project, "pretrain", "masked")
    assert (
        f"pretrain masked seed 0: scratch/trainings/{ours.name}/epoch-00002.pt belongs to another training, "
        f"'{theirs.name}'; "
        "renamed to epoch-00002.aside, resuming from epoch-00001.pt\n"
    ) in output
    assert (ours / "epoch-00002.aside").read_bytes() == (theirs / "epoch-00002.pt").read_bytes()
    assert "resumed at epoch 1/3" in output and resumed == masked
