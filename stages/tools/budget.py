"""Train what the store lacks until the time is up: `python -m stages.tools.budget --minutes 8 --jobs 4`.

Arms with more seeds come first, seed by seed, so a budget that ends early leaves complete seeds of the main
arms. When the time is up, running trainings get SIGTERM; the same command resumes them from their last saved
epoch. Arms without training are left to `make study`.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping

from joblib import cpu_count

from stages.data.arrays import read_manifest
from stages.objectives.contract import Objective
from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.lookup import find
from stages.study.params import arm_of, load_params, seeds_of
from stages.study.study import Study
from stages.study.words import counted
from stages.tools.trainings import Lacking, lacking

LOOK = 0.1  # seconds between two looks at the running trainings
STOPPED = (-signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGTERM)  # exit statuses after `stop`
GRACE = 20.0  # seconds that a training may take to stop


def main() -> None:
    """Read the command line and train until the time is up."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.budget", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, required=True, help="time after which trainings are stopped")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once; they share the GPU or cores")
    options = parser.parse_args()
    if options.minutes <= 0 or options.jobs < 1:
        parser.error("--minutes must be above 0, and --jobs at least 1")
    exit_with("budget", lambda: train_for(60 * options.minutes, jobs=options.jobs))


def train_for(seconds: float, *, jobs: int) -> str:
    """Run missing pre-trainings in order of value; return how many ended, were stopped or did not start.

    jobs: number of trainings at once
    Raises StudyError if the images are not prepared, or if trainings failed; all others have run.
    """
    read_manifest()  # before `prepare`, no training is known to be missing
    end = time.monotonic() + seconds
    waiting = by_value(load_params(), lacking("pretrain"))
    threads = f"{max(1, cpu_count() // jobs)}"
    environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    running: dict[subprocess.Popen[bytes], Lacking] = {}
    ended: dict[Lacking, int] = {}  # exit status
    try:
        while (waiting or running) and time.monotonic() < end:
            while waiting and len(running) < jobs:
                training = waiting.pop(0)
                running[start(training, environment)] = training
            time.sleep(LOOK)
            for process in [process for process in running if process.poll() is not None]:
                ended[running.pop(process)] = process.returncode
    finally:
        stop(running)
    for process in [process for process in running if process.returncode not in STOPPED]:
        ended[running.pop(process)] = process.returncode  # it ended by itself meanwhile
    failed = [training for training, status in ended.items() if status]
    parts = [
        f"{counted(len(ended) - len(failed), 'training')} done",
        f"{len(running)} stopped{named(running.values())}",
        f"{len(waiting)} not started",
    ]
    if failed:
        raise StudyError(f"{counted(len(failed), 'training')} failed{named(failed)}; {', '.join(parts)}")
    return ", ".join(parts)


def by_value(study: Study, trainings: list[Lacking]) -> list[Lacking]:
    """Sort trainings: arms with more seeds first, and among these the first seed of every arm first.

    Trainings of arms that train nothing are left out.
    """

    def rank(training: Lacking) -> tuple[int, int]:
        seeds = seeds_of(study, training.arm)
        return -len(seeds), seeds.index(training.seed)

    trained = [
        training
        for training in trainings
        if find(Objective, arm_of(study, training.arm).objective).build is not None
    ]
    return sorted(trained, key=rank)


def start(training: Lacking, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a training in its own process group, so that Ctrl-C reaches it once, from `stop`."""
    command = [sys.executable, *training.command.split()]
    return subprocess.Popen(command, env=environment, process_group=0, stdin=subprocess.DEVNULL)


def stop(processes: Iterable["subprocess.Popen[bytes]"]) -> None:
    """Ask all processes to stop, wait until they have, and kill those that do not stop in time."""
    last = time.monotonic() + GRACE
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(max(0.0, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def named(trainings: Iterable[Lacking]) -> str:
    """Return the names of trainings in brackets; empty if there are none."""
    names = ", ".join(f"{training.arm} {training.seed}" for training in trainings)
    return f" ({names})" if names else ""


if __name__ == "__main__":
    main()
