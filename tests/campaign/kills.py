"""Kill a whole study at random moments, and compare its results to those of a study that nobody stopped.

`python -m tests.campaign.kills --kills 50` takes about half an hour on two cores. The study is that of
small_study.py. A kill is a SIGKILL to every process in the project, which is how a reset ends them. Then some
files get times in the future or the past, as if the clock had been set, and the next run starts from what
is left. Every fifth run is `make study`. The others are `dvc repro`, which starts sooner; where DVC cannot
read its files any more, `make study` mends them. The last run is `make study` to the end. Its results must
have the bytes of the undisturbed study. The files of DVC and MLflow and the timings are no results: they hold
times and ids.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import psutil

from stages.study.documents import read_yaml
from tests.campaign.small_study import BARE, STUDY, commands, inside, kill, make_project, outs, start

KILLED = "---- killed"  # starts a line of the log


def main() -> None:
    """Read the command line, run the campaign and print its figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=20, help="s that a run is left alone at most")
    parser.add_argument("--jobs", type=int, default=1, help="runtime.jobs of the study that is killed")
    parser.add_argument(
        "--folder", type=Path, help="continue the campaign in this folder; default: a new one"
    )
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    print(f"{folder}", flush=True)
    with commands() as env:
        whole, killed = folder / "whole", folder / "killed"
        if whole.exists() and killed.exists() and differences(code(whole), code(killed)):
            sys.exit(f"{whole} has other code than {killed}; delete it, and it will be run again")
        log = folder / "killed.log"
        if not killed.exists():
            make_project(killed, jobs=arguments.jobs)
        kills = log.read_text().count(KILLED) if log.exists() else 0
        draws = random.Random(f"{arguments.seed} {kills}")
        while kills < arguments.kills:
            words = STUDY if kills % 5 == 0 else BARE
            if killed_after(draws.uniform(0, arguments.longest), killed, env, words=words, log=log):
                kills += 1
        seconds = to_the_end(killed, env, log=log)
        print(f"{kills} kills; last run {seconds:.0f} s", flush=True)
        if not whole.exists():
            print(f"undisturbed: {to_the_end(make_project(whole), env, log=folder / 'whole.log'):.0f} s")
        wrong = differences(outs(whole), outs(killed))
        print(f"{len(outs(whole))} files, {len(wrong)} differ", flush=True)
    sys.exit("\n".join(wrong) or None)


def killed_after(
    seconds: float, project: Path, env: dict[str, str], *, words: tuple[str, ...], log: Path
) -> bool:
    """Run a command and kill it after a time; return whether it was still running.

    A command that ends sooner, because a stage is done or a file of DVC is damaged, is followed by
    `make study`, which must be running or succeed.
    """
    deadline = time.monotonic() + seconds
    process = start(project, env, words=words, log=log)
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.poll() is None:
        kill(project)
        process.wait()
        with log.open("a") as file:
            file.write(f"\n{KILLED} {' '.join(words[:2])} after {seconds:.1f} s\n")
        set_times(project, random.Random(seconds))
        return True
    if words != STUDY:
        return killed_after(seconds, project, env, words=STUDY, log=log)
    if process.returncode:
        sys.exit(f"`make study` after a kill ended with {process.returncode}; see {log}")
    sys.exit(f"the study ended before it was killed often enough; see {log}")


def set_times(project: Path, draws: random.Random) -> None:
    """Move the times of some files by up to two days, as a clock does that is set."""
    files = sorted(path for path in project.rglob("*") if path.is_file() and ".git" not in path.parts)
    for path in draws.sample(files, min(len(files), 10)):
        moment = path.stat().st_mtime + draws.uniform(-172_800, 172_800)
        os.utime(path, (moment, moment))


def to_the_end(project: Path, env: dict[str, str], *, log: Path) -> float:
    """Run the study to its end; return its seconds. Exits if it fails or leaves a process."""
    began = time.monotonic()
    status = start(project, env, words=STUDY, log=log).wait()
    _, left = psutil.wait_procs(inside(project), timeout=10)  # DVC starts a process that looks for updates
    if status or left:
        words = [process.cmdline() for process in left]
        sys.exit(f"the study ended with {status} and left {words}; see {log}")
    return time.monotonic() - began


def code(project: Path) -> dict[str, bytes]:
    """Return the bytes of the code of a project by path, and its settings without `runtime`."""
    settings = read_yaml(project / "params.yaml")
    del settings["runtime"]  # on which no result depends
    files = {
        path.relative_to(project).as_posix(): path.read_bytes() for path in (project / "stages").rglob("*.py")
    }
    return files | {"params.yaml": f"{settings}".encode()}


def differences(expected: dict[str, bytes], results: dict[str, bytes]) -> list[str]:
    """Return the files that are missing, too many or different, in words."""
    words = [f"{path}: missing" for path in expected.keys() - results.keys()]
    words += [f"{path}: not in the undisturbed study" for path in results.keys() - expected.keys()]
    same = expected.keys() & results.keys()
    return sorted([*words, *(f"{path}: differs" for path in same if expected[path] != results[path])])


if __name__ == "__main__":
    main()
