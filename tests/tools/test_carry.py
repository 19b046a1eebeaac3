"""Trainings that one machine packs are in the store of another that unpacks them."""

import shutil

import pytest

from stages.study.errors import StudyError
from stages.study.paths import write_text
from stages.study.store import Training
from stages.tools import archives, carry
from stages.tools.trainings import lacking
from tests.forked import succeed
from tests.project import copy_project

MIB = 2**20


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Put a training with a file of this many bytes into the store, and return it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def keep(number, size=3000):
        def write(folder):
            (folder / "snapshots/0.1").mkdir(parents=True)
            (folder / "encoder.safetensors").write_bytes(bytes([number]) * size)
            write_text(folder / "snapshots/0.1/encoder.json", f"{number}")

        training = Training(f"{number:016x}")
        training.keep(write, seed=number)
        return training

    return keep


def test_arms_share_files_in_their_order_as_far_as_they_fit():
    sizes = {"cl": 6 * MIB, "mim": 4 * MIB, "hybrid": 9 * MIB, "mae": MIB, "dino": MIB}
    assert archives.shared_files(sizes, most=None) == [["cl"], ["mim"], ["hybrid"], ["mae"], ["dino"]]
    assert archives.shared_files(sizes, most=11 * MIB) == [["cl", "mim"], ["hybrid", "mae"], ["dino"]]
    assert archives.shared_files({}, most=None) == []
    with pytest.raises(StudyError, match=r"arm hybrid needs 9\.0 MiB, more than one file may have"):
        archives.shared_files(sizes, most=9 * MIB)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 100_000])
def test_no_file_exceeds_its_limit(store, tmp_path, size):
    trainings = [store(number, size) for number in range(3)]
    expected = sum(archives.tar_bytes(training.result) for training in trainings)
    (path,) = archives.pack({"cl": trainings}, tmp_path / "out", most=expected + archives.END)
    assert expected < path.stat().st_size <= expected + archives.END


def test_what_was_packed_is_whole_elsewhere(store, tmp_path, monkeypatch):
    trainings = {"cl": {0: store(1), 1: store(2), 2: Training("f" * 16)}, "mim": {0: store(3)}}
    line = carry.pack(trainings, tmp_path / "out", most=None)
    assert line == "in the store: cl 2 of 3, mim 1 of 1; packed into cl.tar, mim.tar"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert carry.unpack(trainings, tmp_path / "out") == "in the store: cl 2 of 3, mim 1 of 1"
    assert (trainings["mim"][0].result / "snapshots/0.1/encoder.json").read_text() == "3"
    assert carry.unpack(trainings, tmp_path / "out") == "in the store: cl 2 of 3, mim 1 of 1"  # again


def test_trainings_of_another_study_are_counted(store, tmp_path):
    carry.pack({"cl": {0: store(1), 1: store(2)}}, tmp_path / "out", most=None)
    line = carry.unpack({"cl": {0: Training(f"{1:016x}")}}, tmp_path / "out")
    assert line == (
        "in the store: cl 1 of 1; 1 unpacked trainings have other settings, images or code; "
        "compare `list` of both machines"
    )


def test_a_damaged_file_is_one_line_and_leaves_no_half_training(store, tmp_path, monkeypatch):
    trainings = {"cl": {0: store(1)}}
    carry.pack(trainings, tmp_path / "out", most=None)
    path = tmp_path / "out/cl.tar"
    whole = path.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for content, problem in (
        (whole[: len(whole) // 2], "not a complete t"),
        (b"", "not a complete tar file"),
        (whole.replace(b"\1" * 9, b"\1" * 8 + b"\2"), "is not a complete training"),
    ):
        path.write_bytes(content)
        with pytest.raises(StudyError, match=problem) as error:
            carry.unpack(trainings, tmp_path / "out")
        assert "\n" not in str(error.value) and not trainings["cl"][0].ended()
    path.unlink()
    with pytest.raises(StudyError, match="no tar file of trainings"):
        carry.unpack(trainings, tmp_path / "out")


def test_a_fresh_study_lacks_nothing_that_was_trained_elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    changes = {"arms": {"cl": {"objective": "contrastive"}, "mim": {"objective": "masked"}}}
    there, here = (
        copy_project(tmp_path / name, changes=changes, leave_out=("random", "hybrid"))
        for name in ("there", "here")
    )
    for words in (("prepare",), *(("pretrain", "--arm", arm, "--seed", "0") for arm in ("cl", "mim"))):
        succeed(there, *words)
    packed = succeed(there, "tools.carry", "pack", f"{tmp_path / 'out'}", "--size", "16")
    assert packed.stdout == "in the store: cl 1 of 1, mim 1 of 1; packed into cl-mim.tar\n"
    succeed(here, "prepare")
    monkeypatch.chdir(here)
    assert [training.arm for training in lacking("pretrain")] == ["cl", "mim"]
    succeed(here, "tools.carry", "unpack", f"{tmp_path / 'out'}")
    assert lacking("pretrain") == []
    listed = [succeed(project, "tools.carry", "list").stdout for project in (there, here)]
    assert listed[0] == listed[1] and listed[0].startswith("cl 0 ")
    shutil.rmtree(there)
    succeed(here, "pretrain", "--arm", "cl")
    assert (here / "models/cl/0/encoder.safetensors").is_file()
