"""Places in which commands start: each works, or ends in one line."""

import errno
import os
import sqlite3
import subprocess
import sys

import pytest

from stages.study.command import exit_with
from tests.project import ROOT


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_what_may_not_be_written_is_one_line(capsys, number):
    def work() -> str:
        raise OSError(number, os.strerror(number), "results/check.json")

    with pytest.raises(SystemExit) as end:
        exit_with("status", work)
    line = f"status: results/check.json: {os.strerror(number)}; make it writable, or work in a copy\n"
    assert end.value.code == 2 and capsys.readouterr().err == line


def chained() -> RuntimeError:
    error = RuntimeError("cannot write the archive")
    error.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x/y"), "x/y: No space left on device"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), os.strerror(errno.EDQUOT)),
        (sqlite3.OperationalError("database or disk is full"), "database or disk is full"),
        (chained(), "No space left on device"),
    ],
    ids=["a file", "a quota", "SQLite", "another library"],
)
def test_a_full_disk_is_one_line_whoever_meets_it(capsys, error, words):
    def work() -> str:
        raise error

    with pytest.raises(SystemExit) as end:
        exit_with("repro", work)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"repro: {words}; free some space and run it again\n"


def test_another_error_of_the_system_keeps_its_traceback():
    def work() -> str:
        raise OSError(errno.EIO, "a broken disk", "x")

    with pytest.raises(OSError, match="a broken disk"):
        exit_with("status", work)


@pytest.fixture
def command(tmp_path):
    """Runs code as `python -m stages.x` does in an environment of its own."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").write_text((ROOT / "stages/__init__.py").read_text())

    def run(code: str, *, before: str = "", **environment: str) -> str:
        (tmp_path / "stages/x.py").write_text(code)
        start = f"import sys, runpy\n{before}\nsys.argv = ['-m']\nrunpy.run_module('stages.x')"
        words = [sys.executable, "-c", start]
        env = {"PATH": os.environ["PATH"]} | environment
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("ascii").strip()

    return run


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii"}],
    ids=["locale", "setting"],
)
def test_a_terminal_of_few_characters_shows_question_marks(command, environment):
    assert command("print('done · 3 → 4')", **environment) == "done ? 3 ? 4"


NAMELESS = "import pwd\ndef no_name(uid): raise KeyError(f'getpwuid(): {uid}')\npwd.getpwuid = no_name"


def test_a_user_without_a_name_has_one_for_libraries(command):
    code = "import getpass; print(getpass.getuser())"
    assert command(code, before=NAMELESS) == f"{os.getuid()}"
    assert command(code, before=NAMELESS, USER="ann") == "ann"


REPEATED = """
import os, signal, sys, time
from stages.study.command import exit_with
def work():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        time.sleep(WAIT)
        os.kill(os.getpid(), signal.SIGTERM)
        print("saved", flush=True)
exit_with("x", work)
"""


@pytest.mark.parametrize(("wait", "status", "saved"), [("0.01", 143, True), ("1.1", -15, False)])
def test_sigterm_twice_at_once_is_one_and_a_later_one_kills(wait, status, saved):
    words = [sys.executable, "-c", REPEATED.replace("WAIT", wait)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status and ("saved" in done.stdout) == saved
    assert ("x: stopped by SIGTERM" in done.stderr) == saved


@pytest.mark.parametrize("work", ["print('x' * 100_000, flush=True)", "'x' * 100_000"])
def test_output_that_nobody_reads_ends_the_command_in_silence(work):
    code = f"from stages.study.command import exit_with; exit_with('look', lambda: {work})"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(timeout=30) == 141


def test_another_closed_pipe_keeps_its_traceback():
    def work():
        raise BrokenPipeError("of a server")

    with pytest.raises(BrokenPipeError, match="of a server"):
        exit_with("look", work)
