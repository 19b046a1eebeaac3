"""A study of every stage that a machine with two cores runs in about a minute, and its processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.project import ROOT, as_dvc_repository, copy_project, environment

CHANGES = {
    "seeds": [0, 1],
    "data": {"shapes_textures": {"train_images": 64, "test_images": 40}},
    "pretrain": {"epochs": 2, "batch_size": 32, "snapshots": [0.5]},
    "features": {"block_images": 40, "token_images": 32},
    "linear_augmented": {"arms": ["mim"], "epochs": 1, "batch_size": 32},
    "arms": {"hybrid": {"seeds": [0]}},
}
LEFT_OUT = ("random", "few_shot", "attentive", "layerwise", "similarity", "attention_maps",
            "token_embedding", "fourier", "singular_values")  # fmt: skip
STUDY = ("make", "-o", ".venv/.complete", "study")  # in the environment of the tests
BARE = ("dvc", "repro")
OUTS = ("data/prepared", "models", "features", "results", "reports")
# A server as in stages/tools/forks.py, with DVC imported too, because imports would be most of the time. Its
# forks import the code of the project.
SERVER = """
import importlib, socket, sys
for name in ("dvc.cli", "dvc.commands.repro", "dvc.repo.reproduce", "dvc.stage.run", "dvc.dvcfile"):
    importlib.import_module(name)
from stages.tools.forks import serve
for name in [name for name in sys.modules if name.partition(".")[0] == "stages"]:
    del sys.modules[name]
serve(socket.socket(fileno=int(sys.argv[1])))
"""


def make_project(target: Path, *, jobs: int = 1) -> Path:
    """Write the small study into a folder of its own, under Git and DVC.

    jobs: tasks in parallel, see runtime.jobs in params.yaml
    """
    project = copy_project(target, changes=CHANGES | {"runtime": {"jobs": jobs}}, leave_out=LEFT_OUT)
    shutil.copy(ROOT / "Makefile", project)
    return as_dvc_repository(project)


@contextmanager
def commands(place: Path | None = None) -> Iterator[dict[str, str]]:
    """Yield the environment for `make study` in which `python` and `dvc` are forks of one server.

    place: for the commands; None: the system's folder for temporary files
    """
    with tempfile.TemporaryDirectory(dir=place) as name, socket.socket(socket.AF_UNIX) as listener:
        folder = Path(name)
        listener.bind(f"{folder}/socket")
        listener.listen(64)
        env = environment()
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, f"{listener.fileno()}"],
            cwd=ROOT,
            env=env,
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            process_group=0,
        )
        ask = f'exec "{sys.executable}" -IS "{ROOT}/stages/tools/forks.py"'
        for command, words in (("python", ""), ("dvc", "-m dvc")):
            (folder / command).write_text(f'#!/bin/sh\n{ask} {words} "$@"\n')
            (folder / command).chmod(0o755)
        forked = {"STUDY_PYTHON": "python", "STUDY_LAUNCH": "python", "STUDY_FORKS": f"{folder}/socket"}
        try:
            yield env | forked | {"PATH": f"{folder}{os.pathsep}{env['PATH']}"}
        finally:
            server.kill()
            server.wait()


def start(
    project: Path, env: dict[str, str], *, words: tuple[str, ...] = STUDY, log: Path
) -> "subprocess.Popen[bytes]":
    """Start a command in the project; what it prints is appended to the log."""
    with log.open("ab") as file:
        return subprocess.Popen(
            words, cwd=project, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, process_group=0
        )


def kill(project: Path) -> int:
    """Kill every process in the project, as a reset would; return their number."""
    dead: set[int] = set()
    while living := [process for process in inside(project) if process.pid not in dead]:
        for process in living:  # stopped first, so that none starts another
            with suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP)
        for process in living:
            with suppress(psutil.Error):
                process.kill()
            dead.add(process.pid)
        psutil.wait_procs(living, timeout=10)
    time.sleep(0.05)
    return len(dead)


def inside(project: Path) -> list[psutil.Process]:
    """Return all living processes whose working directory is in the project."""
    processes = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(project):
                processes.append(process)
    return processes


def outs(project: Path) -> dict[str, bytes]:
    """Return the bytes of every result, by path in the project."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for folder in OUTS
        for path in (project / folder).rglob("*")
        if path.is_file() and path.name != ".gitignore"
    }
