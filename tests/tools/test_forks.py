"""Stages as forks of a process that has the libraries imported."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from stages.tools.forks import LATER, forks
from tests.project import ROOT, environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")

# Says what it finds, then does what its last word asks for.
PROBE = """
import json, os, signal, sys, time
def stop(*_):
    print("interrupted", flush=True)
    sys.exit(130)
usual = signal.signal(signal.SIGINT, stop) is signal.default_int_handler
print(json.dumps({
    "name": __name__, "words": sys.argv[1:], "directory": os.getcwd(), "variable": os.environ.get("VARIABLE"),
    "process": os.getpid(), "group": os.getpgrp(), "usual": usual, "there": sorted(sys.modules),
    "threads": len(os.listdir("/proc/self/task")),
}), flush=True)
if sys.argv[-1] == "fail": sys.exit(3)
if sys.argv[-1] == "complain": sys.exit("this is wrong")
if sys.argv[-1] == "raise": raise ValueError("no such thing")
if sys.argv[-1] == "die": os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[-1] == "wait": time.sleep(60)
"""


@pytest.fixture(scope="module")
def forking():
    with forks({"OMP_NUM_THREADS": "1"}) as asking:
        yield environment() | asking | {"STUDY_PYTHON": f"{sys.executable} {ROOT}/stages/tools/forks.py"}


@pytest.fixture
def begin(forking, tmp_path):
    """Start the probe as a stage is started, in a process group of its own."""
    (tmp_path / "probe.py").write_text(PROBE)

    def begin(*words, **variables):
        env = forking | variables
        command = [*env["STUDY_PYTHON"].split(), "-m", "probe", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=pipe, stderr=pipe, text=True, process_group=0
        )

    return begin


def test_it_is_python_with_the_libraries_there(begin, tmp_path):
    done = begin("--arm", "cl", VARIABLE="this")
    out, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (0, "")
    seen = json.loads(out)
    assert (seen["name"], seen["words"], seen["variable"]) == ("__main__", ["--arm", "cl"], "this")
    assert seen["directory"] == str(tmp_path) and seen["usual"]
    assert "torch" in seen["there"] and seen["process"] != done.pid == seen["group"]
    # The project's own code is read anew by every stage, as it is when DVC takes its hash.
    ours = {name for name in seen["there"] if name.startswith("stages.")}
    assert ours <= {"stages.tools", "stages.tools.forks"}


def test_what_single_stages_need_is_imported_while_nobody_asks(begin):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        seen = json.loads(begin("now").communicate(timeout=60)[0])
        if set(LATER) <= set(seen["there"]):
            break
        time.sleep(0.2)
    assert set(LATER) <= set(seen["there"])
    assert seen["threads"] == 1  # others would be lost in the fork


@pytest.mark.parametrize(
    ("word", "code", "words"),
    [
        ("fail", 3, ""),
        ("complain", 1, "this is wrong"),
        ("raise", 1, "ValueError: no such thing"),
        ("die", 1, "-m probe die: killed"),
    ],
)
def test_it_ends_as_the_fork_ends(begin, word, code, words):
    done = begin(word)
    _, err = done.communicate(timeout=60)
    assert done.returncode == code and words in err and bool(words) == bool(err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_group_reaches_the_fork(begin, number):
    done = begin("wait")
    fork = psutil.Process(json.loads(done.stdout.readline())["process"])
    os.killpg(done.pid, number)
    out, err = done.communicate(timeout=60)
    psutil.wait_procs([fork], timeout=10)
    assert not fork.is_running() and err == ""
    assert (done.returncode, out) == ((130, "interrupted\n") if number == signal.SIGINT else (-9, ""))


def test_without_such_a_process_it_is_python_itself(begin, tmp_path):
    for place in ("", str(tmp_path / "nobody")):
        done = begin("fail", STUDY_FORKS=place)
        seen = json.loads(done.communicate(timeout=60)[0])
        assert done.returncode == 3 and "torch" not in seen["there"] and seen["process"] == done.pid


@pytest.mark.parametrize("name", ["x" * 100, "ж" * 40])  # the limit is in bytes
def test_a_long_folder_for_temporary_files_leaves_room_for_the_socket(monkeypatch, name):
    long = tempfile.mkdtemp(prefix=name, dir="/tmp")
    monkeypatch.setattr("tempfile.tempdir", long)
    monkeypatch.setattr("stages.tools.forks.subprocess.Popen", lambda *words, **options: Mock())
    with forks({}) as asking:
        assert len(os.fsencode(asking["STUDY_FORKS"])) < 104 and Path(asking["STUDY_FORKS"]).exists()
    Path(long).rmdir()
