"""Files are written whole or not, and a full disk is one line, whatever writes."""

import errno
import os
import signal
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from stages.study.command import exit_with, run
from stages.study.errors import StudyError
from stages.study.paths import write_json, write_text, writing
from tests.full_disk import file_limit

MANY = 20_000


def write_in_parts(path):
    for _ in range(40):
        with path.open("ab") as file:
            file.write(b"x" * 500)


def torch_save(path):
    with path.open("wb") as file:
        torch.save(torch.zeros(MANY), file)


WRITERS = {
    "text": lambda path: path.write_text("x" * MANY),
    "bytes in parts": write_in_parts,
    "pandas": lambda path: pd.DataFrame({"x": np.arange(MANY)}).to_csv(path),
    "mapped": lambda path: np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(MANY,)),
    "safetensors": lambda path: save_file({"x": torch.zeros(MANY)}, path),
    "torch": torch_save,
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("inside", [False, True], ids=["file", "folder"])
def test_without_room_it_is_one_line_and_the_old_target_stays(tmp_path, kind, inside):
    target = tmp_path / "out"
    with writing(target) as temporary:
        if inside:
            temporary.mkdir()
        (temporary / "table" if inside else temporary).write_text("old")
    with file_limit(5000), pytest.raises(StudyError) as refused, writing(target) as temporary:
        if inside:
            temporary.mkdir()
        WRITERS[kind](temporary / "table" if inside else temporary)
    message = str(refused.value)
    assert message.startswith(f"{target}: File too large; more than 0.0 MB needed, ") and "\n" not in message
    assert message.endswith(" MB free; free some space and run the command again; finished work is kept")
    assert (target / "table" if inside else target).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_the_line_names_the_file_and_the_room(tmp_path, code):
    words = os.strerror(code)
    line = rf"out: {words}; 2,500\.0 MB needed, [\d,.]+ MB free; free some space"
    with pytest.raises(StudyError, match=line):  # noqa: SIM117
        with writing(tmp_path / "sub" / "out", size=2_500_000_000):
            raise OSError(code, words)


def test_another_error_is_what_it_was_and_an_inner_line_is_not_wrapped(tmp_path):
    for error in (OSError(errno.EACCES, "Permission denied"), ValueError("No number"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, writing(tmp_path / "out") as temporary:
            temporary.write_text("half")
            raise error
        assert raised.value is error and not list(tmp_path.iterdir())
    with pytest.raises(StudyError, match=r"^inner: No space"), writing(tmp_path / "out"):
        raise StudyError("inner: No space left on device")


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    parts = {
        "dead": f".out.{dead.pid}.part",
        "living": f".out.{os.getppid()}.part",
        "ours": f".out.{os.getpid()}.part",
        "of another file": f".out.csv.{dead.pid}.part",
    }
    for name in parts.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    write_text(tmp_path / "out", "whole")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out", parts["living"], parts["of another file"]}


def test_a_stage_without_room_exits_with_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def work():
        with file_limit(100):
            write_json(tmp_path / "out.json", {"x": list(range(100))})
        return "done"

    with pytest.raises(SystemExit) as stopped:
        run("probe@cl", work)
    output = capsys.readouterr()
    assert stopped.value.code == 2 and output.out == "probe cl\n" and output.err.count("\n") == 1
    assert output.err.startswith(f"probe@cl: {tmp_path}/out.json: File too large; ")
    # A stage does not fail for want of room for its time.
    with file_limit(1):
        run("probe@cl", lambda: "all good")
    assert "· all good" in capsys.readouterr().out


def test_sigterm_is_left_as_it_was(capsys):
    before = signal.getsignal(signal.SIGTERM)
    exit_with("x", lambda: "done")
    assert signal.getsignal(signal.SIGTERM) is before and capsys.readouterr().out == "done\n"
