"""Stages as forks of a process that has the libraries imported."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages.tools.preloaded import LATER, preloaded
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
    "name": __name__, "words": sys.argv[1:], "directory": os.getcwd(), "said": os.environ.get("SAID"),
    "process": os.getpid(), "torch": "torch" in sys.modules, "usual": usual,
    "threads": len(os.listdir("/proc/self/task")), "there": sorted(sys.modules),
    "ours": sorted(name for name in sys.modules if name.startswith("stages.")),
}), flush=True)
if sys.argv[-1] == "fail": sys.exit(3)
if sys.argv[-1] == "complain": sys.exit("this is wrong")
if sys.argv[-1] == "raise": raise ValueError("no such thing")
if sys.argv[-1] == "die": os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[-1] == "wait": time.sleep(60)
"""


@pytest.fixture(scope="module")
def forking():
    with preloaded({"OMP_NUM_THREADS": "1"}) as asking:
        yield environment() | asking | {"STUDY_PYTHON": f"{sys.executable} {ROOT}/stages/tools/fork.py"}


def begin(folder: Path, *words: str, env: dict[str, str]) -> subprocess.Popen:
    (folder / "probe.py").write_text(PROBE)
    command = [*env["STUDY_PYTHON"].split(), "-m", "probe", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True)


def test_it_is_python_with_the_libraries_there(forking, tmp_path):
    done = begin(tmp_path, "--arm", "cl", env=forking | {"SAID": "this"})
    out, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (0, "")
    found = json.loads(out)
    assert found["name"] == "__main__" and found["words"] == ["--arm", "cl"] and found["said"] == "this"
    assert found["directory"] == str(tmp_path) and found["usual"]
    assert found["torch"] and found["process"] != done.pid
    # The project's own code is read anew by every stage, as it is when DVC takes its hash.
    assert set(found["ours"]) <= {"stages.tools", "stages.tools.preloaded"}


def test_what_single_stages_need_is_imported_while_nobody_asks(forking, tmp_path):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = json.loads(begin(tmp_path, "now", env=forking).communicate(timeout=60)[0])
        if set(LATER) <= set(found["there"]):
            break
        time.sleep(0.2)
    assert set(LATER) <= set(found["there"])
    assert found["threads"] == 1  # others would be lost in the fork


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("fail", 3, ""),
        ("complain", 1, "this is wrong"),
        ("raise", 1, "ValueError: no such thing"),
        ("die", -9, ""),
    ],
)
def test_it_ends_as_the_fork_ends(forking, tmp_path, word, code, said):
    done = begin(tmp_path, word, env=forking)
    _, err = done.communicate(timeout=60)
    assert done.returncode == code and said in err and bool(said) == bool(err)


def test_ctrl_c_reaches_the_fork(forking, tmp_path):
    done = begin(tmp_path, "wait", env=forking)
    done.stdout.readline()
    done.send_signal(signal.SIGINT)
    assert done.communicate(timeout=60) == ("interrupted\n", "") and done.returncode == 130


def test_a_fork_is_killed_with_the_one_who_asked(forking, tmp_path):
    done = begin(tmp_path, "wait", env=forking)
    fork = psutil.Process(json.loads(done.stdout.readline())["process"])
    done.kill()
    done.communicate(timeout=60)
    for _ in range(100):
        if not fork.is_running() or fork.status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.1)
    else:
        os.kill(fork.pid, signal.SIGKILL)
        pytest.fail("the fork outlived the process that asked for it")


def test_without_such_a_process_it_is_python_itself(forking, tmp_path):
    for place in ({}, {"STUDY_FORKS": str(tmp_path / "nobody")}):
        env = {name: value for name, value in forking.items() if name != "STUDY_FORKS"} | place
        done = begin(tmp_path, "fail", env=env)
        found = json.loads(done.communicate(timeout=60)[0])
        assert done.returncode == 3 and not found["torch"] and found["process"] == done.pid


def test_it_ends_with_the_study(tmp_path):
    with preloaded({}) as asking:
        place = Path(asking["STUDY_FORKS"])
        assert place.is_socket()
    assert not place.exists()
