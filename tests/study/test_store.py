"""The store: a training is run once, found wherever it is whole, and never taken for another."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from stages.study.errors import StudyError
from stages.study.store import (
    Training,
    changed_file,
    collect,
    is_whole,
    recover,
    sealed,
    sealed_seeds,
    stored,
)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def train(fingerprint, *, weights="w", **about):
    training = Training(fingerprint)
    with training.alone():
        training.keep(lambda folder: (folder / "encoder.safetensors").write_text(weights), **about)
    return training


def test_a_result_is_kept_whole_with_its_seal_and_its_checkpoints_go():
    training = Training("a" * 16)
    assert not training.ended()
    with training.alone():
        (training.directory / "epoch-00001.pt").write_text("state")
        (training.directory / "epoch-00001.sha256").write_text("digest")
        training.keep(lambda folder: (folder / "encoder.safetensors").write_text("w"), seed=3, device="cpu")
    assert training.ended()
    assert {path.name for path in training.directory.iterdir()} == {"lock", "result"}
    (seal,) = stored().values()
    assert (seal["fingerprint"], seal["seed"], seal["device"]) == ("a" * 16, 3, "cpu")
    assert list(seal["files"]) == ["encoder.safetensors"]


def test_a_file_that_was_changed_lost_or_copied_from_another_training_is_not_whole():
    first, second = train("a" * 16), train("b" * 16, weights="v")
    assert not is_whole(first.result, second.fingerprint)
    (second.result / "encoder.safetensors").write_text("w")
    assert not second.ended()
    (first.result / "encoder.safetensors").unlink()
    assert not first.ended()
    assert not is_whole(Path("nowhere"), "a" * 16) and sealed(Path("nowhere")) is None


def test_files_in_folders_of_a_result_are_sealed_and_collected_too():
    def write(folder):
        (folder / "snapshots/0.1").mkdir(parents=True)
        (folder / "snapshots/0.1/encoder.json").write_text("{}")

    training = Training("a" * 16)
    with training.alone():
        training.keep(write)
    collect({0: training}, Path("models/cl"))
    assert is_whole(Path("models/cl/0"), "a" * 16)
    Path("models/cl/0/snapshots/0.1/encoder.json").write_text("[]")
    assert not is_whole(Path("models/cl/0"), "a" * 16) and training.ended()


def test_a_failed_write_leaves_no_result():
    training = Training("a" * 16)

    def fail(folder):
        (folder / "encoder.safetensors").write_text("w")
        raise RuntimeError

    with pytest.raises(RuntimeError), training.alone():
        training.keep(fail)
    assert {path.name for path in training.directory.iterdir()} == {"lock"}


def test_an_out_is_made_of_the_seeds_wanted_and_of_no_other():
    trainings = {seed: train(f"{seed}" * 16, weights=f"w{seed}") for seed in (0, 1, 2)}
    out = Path("models/cl")
    collect(trainings, out)
    assert {path.name for path in out.iterdir()} == {"0", "1", "2"}
    collect({seed: trainings[seed] for seed in (0, 2)}, out)
    assert {path.name for path in out.iterdir()} == {"0", "2"}
    assert (out / "2/encoder.safetensors").read_text() == "w2"


def test_an_empty_store_finds_trainings_in_outs_also_under_another_name(project):
    trainings = {seed: train(f"{seed}" * 16, weights=f"w{seed}") for seed in (0, 1)}
    collect(trainings, Path("models/cl"))
    os.rename("scratch", "gone")
    assert recover(trainings, Path("models/renamed")) == []
    assert all(training.ended() for training in trainings.values())


def test_a_damaged_out_is_not_found(project):
    trainings = {0: train("0" * 16)}
    collect(trainings, Path("models/cl"))
    os.rename("scratch", "gone")
    Path("models/cl/0/encoder.safetensors").write_text("x")
    assert recover(trainings, Path("models/cl")) == [0]


def test_what_an_out_held_before_goes_into_the_store(project):
    before = train("a" * 16)
    collect({0: before}, Path("models/cl"))
    os.rename("scratch", "gone")
    collect({0: train("b" * 16)}, Path("models/cl"))
    assert before.ended() and sealed(Path("models/cl/0")) == "b" * 16


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_damaged_result_is_named_and_restored_from_the_out_or_trained_again(capsys):
    trainings = {0: train("0" * 16)}
    collect(trainings, Path("models/cl"))
    damaged = trainings[0].result / "encoder.safetensors"
    flip_a_byte(damaged)
    assert recover(trainings, Path("models/cl")) == [] and trainings[0].ended()
    line = f"{damaged}: changed since its training; "
    assert capsys.readouterr().out == f"{line}restored from models/cl/0\n"
    flip_a_byte(damaged)
    flip_a_byte(Path("models/cl/0/encoder.safetensors"))
    assert recover(trainings, Path("models/cl")) == [0]
    assert capsys.readouterr().out == f"{line}training again\n"
    assert recover({0: Training("f" * 16)}, Path("models/cl")) == [0] and not capsys.readouterr().out


def test_an_encoder_that_changed_is_named_and_refused(capsys):
    def write(folder):
        (folder / "snapshots/0.1").mkdir(parents=True)
        for name in ("encoder.safetensors", "snapshots/0.1/encoder.json"):
            (folder / name).write_text("w")

    for seed in (0, 1):
        Training(f"{seed}" * 16).keep(write)
    collect({seed: Training(f"{seed}" * 16) for seed in (0, 1)}, Path("models/cl"))
    assert sealed_seeds("cl") == sealed_seeds("cl", snapshots=True) == [0, 1]
    flip_a_byte(Path("models/cl/1/snapshots/0.1/encoder.json"))
    assert sealed_seeds("cl") == [0, 1]
    with pytest.raises(StudyError, match=r"^models/cl/1/snapshots/0.1/encoder.json: changed since"):
        sealed_seeds("cl", snapshots=True)
    Path("models/cl/0/encoder.safetensors").unlink()
    with pytest.raises(StudyError, match=r"^models/cl/0/encoder.safetensors: .*--force pretrain@cl`$"):
        sealed_seeds("cl")
    assert changed_file(Path("nowhere")) is None


def hold(seconds):
    with Training("a" * 16).alone():
        Path("held").touch()
        time.sleep(seconds)
        Path("released").touch()


def test_two_processes_never_train_the_same_at_once(capfd):
    process = multiprocessing.get_context("fork").Process(target=hold, args=(0.3,))
    process.start()
    while not Path("held").exists():
        time.sleep(0.01)
    with Training("a" * 16).alone():
        assert Path("released").exists()
    process.join()
    assert "waiting for another process that runs training aaaaaaaaaaaaaaaa" in capfd.readouterr().out


def test_the_lock_of_a_killed_process_is_free():
    process = multiprocessing.get_context("fork").Process(target=hold, args=(60,))
    process.start()
    while not Path("held").exists():
        time.sleep(0.01)
    process.kill()
    process.join()
    with Training("a" * 16).alone():
        pass
