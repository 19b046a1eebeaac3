"""Fill the disk and /tmp and start a study twice: each fault is one line, and nothing is lost.

`python -m tests.campaign.faults --whole FOLDER` needs root on Linux, for mounts that nobody else sees. The
study is that of small_study.py; after all faults, it must have the bytes of the undisturbed one in FOLDER.
"""

import argparse
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.campaign.kills import code, differences
from tests.campaign.small_study import STUDY, commands, inside, make_project, outs, start
from tests.project import ROOT

NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of sched.h
PLACE = Path("/mnt")  # the study, beside a /tmp that is full
FILLED_AT = ("prepare", "pretrain@mim", "features@mim", "report@attention", "summary")


def main() -> None:
    """Read the command line, run all faults and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.faults", description=__doc__)
    parser.add_argument("--whole", type=Path, required=True, help="the undisturbed study, as kills leaves it")
    whole = parser.parse_args().whole
    expected = outs(whole)
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS):
        sys.exit(f"mounts of its own: {os.strerror(ctypes.get_errno())}; run it as root")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", f"{PLACE}"], check=True)
    project, log = make_project(PLACE / "project"), PLACE / "log"
    if differences(code(whole), code(project)):
        sys.exit(f"{whole} has other code; run `python -m tests.campaign.kills` of this version first")
    with commands(PLACE) as env:
        for stage in FILLED_AT:
            tell(f"disk full at {stage}", project, log, lambda stage=stage: fill_at(stage, project, env, log))
        wait_for(STUDY, project, env, log)
        wrong = differences(expected, outs(project))
        print(f"all of them, then with space: {len(expected)} files, {len(wrong)} differ", flush=True)
        tell("two at once", project, log, lambda: twice(project, env, log))
        tell("a full /tmp", project, log, lambda: full_tmp(project, env, log))
    sys.exit("\n".join(wrong) or None)


def tell(name: str, project: Path, log: Path, act: Callable[[], int]) -> None:
    """Run one fault and print its exit status, the lines of errors, and what it left half written."""
    size = log.stat().st_size if log.exists() else 0
    status = act()
    lines = [line for line in log.read_bytes()[size:].decode().splitlines() if is_error(line)]
    _, living = psutil.wait_procs(inside(project), timeout=10)  # DVC starts a process that looks for updates
    parts = [path for path in project.rglob("*.part") if ".dvc" not in path.parts]
    print(f"{name}: exit {status}, {len(parts)} half written, {len(living)} processes left", flush=True)
    print("".join(f"    {line}\n" for line in lines), end="", flush=True)


def is_error(line: str) -> bool:
    """Return whether a line is about a fault."""
    return any(word in line for word in ("rror", "space", "Traceback", "another", "damaged", "changed since"))


def fill_at(stage: str, project: Path, env: dict[str, str], log: Path) -> int:
    """Fill the disk as soon as a stage starts; return the exit status of the study."""
    marker = f"Running stage '{stage}'"
    before = log.read_text().count(marker) if log.exists() else 0
    process = start(project, env, words=STUDY, log=log)
    while process.poll() is None and not (log.exists() and log.read_text().count(marker) > before):
        time.sleep(0.01)
    ballast = PLACE / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(bytes(2**16))
                file.flush()
        except OSError:
            pass
    status = process.wait()
    ballast.unlink()
    return status


def twice(project: Path, env: dict[str, str], log: Path) -> int:
    """Start the study twice after its results are gone; return the second exit status."""
    subprocess.run(["rm", "-r", f"{project}/results/probe/knn", f"{project}/features"], check=True)
    first = start(project, env, words=STUDY, log=log)
    while not (project / "scratch/study.lock").exists() or first.poll() is not None:
        time.sleep(0.01)
    time.sleep(1)
    status = start(project, env, words=STUDY, log=log).wait()
    if first.wait():
        sys.exit(f"the first study ended with {first.returncode}")
    return status


def full_tmp(project: Path, env: dict[str, str], log: Path) -> int:
    """Run a page anew while neither /tmp nor /var/tmp has a free byte; return the exit status."""
    (PLACE / "code").mkdir()
    subprocess.run(["mount", "--bind", f"{ROOT}", f"{PLACE}/code"], check=True)
    for place in ("/tmp", "/var/tmp"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place], check=True)
        Path(place, "ballast").write_bytes(bytes(4096))
    ROOT.mkdir(parents=True, exist_ok=True)  # if the code itself lies in /tmp
    subprocess.run(["mount", "--bind", f"{PLACE}/code", f"{ROOT}"], check=True)
    (project / "reports/pages/attention.html").unlink()
    return wait_for(STUDY, project, env, log)


def wait_for(words: tuple[str, ...], project: Path, env: dict[str, str], log: Path) -> int:
    """Run a command to its end; return its exit status."""
    return start(project, env, words=words, log=log).wait()


if __name__ == "__main__":
    main()
