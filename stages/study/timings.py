"""Record when stages ran, in scratch/timings.jsonl; the file is not an out and may be missing."""

import json
import os
import platform
import re
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from stages.study import slurm
from stages.study.paths import scratch

REMEMBERED = 5  # number of past runs that predict the duration of the next one


@dataclass
class Run:
    """One run of a stage, finished or not."""

    stage: str
    process: int
    began: float  # seconds since 1970
    ended: float | None = None  # None: still running, or killed
    outcome: str = ""  # done, failed or interrupted; empty while the run has not ended
    seconds: float = (
        0.0  # duration of the process, imports included; without an end, up to the last checkpoint
    )
    message: str = ""  # the key result or the error, in one line
    epoch: float | None = None  # the last saved epoch
    epochs: float | None = None
    ran_with: list[str] = field(default_factory=list)  # objective, device, precision
    host: str = field(default_factory=platform.node)
    job: str = ""  # number of the Slurm job

    @property
    def saved(self) -> str:
        """Return how much of a training is saved, in words; empty if nothing is saved."""
        return f"saved up to epoch {self.epoch} of {self.epochs}" if self.epoch else ""

    @property
    def progress(self) -> str:
        """Return for how long the run has been going, and its last checkpoint, in words."""
        return ", ".join(filter(None, [f"running for {spoken(time.time() - self.began)}", self.saved]))

    @property
    def ending(self) -> str:
        """Return how the run ended, with its result and its last checkpoint, in words."""
        return ", ".join(filter(None, [self.outcome or "killed", self.message, self.saved]))

    @property
    def alive(self) -> bool:
        """Return whether the run is still going: it has not ended, and its Slurm job and its process exist.

        A newer process with the same number does not count. A process on another machine cannot be checked
        and counts as alive.
        """
        if self.ended is not None:
            return False
        if self.job and (jobs := slurm.running()) is not None and self.job not in jobs:
            return False
        if self.host != platform.node():
            return True
        with suppress(psutil.Error):
            return psutil.Process(self.process).create_time() <= self.began + 1
        return False


def timings_file() -> Path:
    """Return the path of the file of timings."""
    return scratch() / "timings.jsonl"


def note(event: str, **about: Any) -> None:
    """Append one event of this process to the timings; an error in writing never stops a stage.

    event: began, saved, done, failed or interrupted
    about: values for JSON, such as stage="pretrain@cl"
    """
    here = {"process": os.getpid(), "host": platform.node(), "job": os.environ.get("SLURM_JOB_ID", "")}
    line = json.dumps({"time": round(time.time(), 3), "event": event} | here | about)
    with suppress(OSError):
        timings_file().parent.mkdir(parents=True, exist_ok=True)
        # A single append, so that lines of stages that run in parallel do not mix.
        file = os.open(timings_file(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)


def read_runs() -> list[Run]:
    """Return all recorded runs in the order of their starts; incomplete lines are skipped."""
    try:
        lines = timings_file().read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    runs: list[Run] = []
    latest: dict[tuple[str, str, int], Run] = {}  # of each process
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            event = json.loads(line)
            host, job = event.get("host", platform.node()), event.get("job", "")
            process = (host, job, event["process"])
            if event["event"] == "began":
                run = Run(event["stage"], event["process"], event["time"], host=host, job=job)
                run.ran_with = event.get("ran_with", [])
                latest[process] = run
                runs.append(run)
                continue
            run = latest[process]
            if event["event"] == "saved":
                run.epoch, run.epochs = event["epoch"], event["epochs"]
                run.seconds = event["time"] - run.began
            else:
                run.ended, run.outcome = event["time"], event["event"]
                run.seconds, run.message = event["seconds"], event.get("message", "")
    return runs


def expected_seconds(stage: str, runs: list[Run]) -> float | None:
    """Return the expected duration of a stage in seconds; None if no earlier run allows a prediction.

    The prediction is the longest of the stage's last five finished runs, because resumed runs are shorter.
    For a stage that never ran, it is the median over the same stage of other arms. Pre-training has no such
    fallback, because its duration depends on the objective.

    stage: as DVC addresses it, e.g. probe@cl-knn, or one of its trainings, e.g. pretrain@cl-0
    """
    durations: dict[str, list[float]] = {}
    for run in runs:
        if run.outcome == "done":
            durations.setdefault(of_any_seed(run.stage), []).append(run.seconds)
    longest = {name: max(seconds[-REMEMBERED:]) for name, seconds in durations.items()}
    stage = of_any_seed(stage)
    if stage in longest or stage.startswith("pretrain@"):
        return longest.get(stage)
    alike = [seconds for name, seconds in longest.items() if "@" in stage and kind(name) == kind(stage)]
    return statistics.median(alike) if alike else None


def of_any_seed(stage: str) -> str:
    """Replace the seed in a training's name: pretrain@cl-0 becomes pretrain@cl-*; leave other names alone."""
    return re.sub(r"-\d+$", "-*", stage)


def kind(stage: str) -> str:
    """Return the address of a stage without its arm: probe@cl-knn becomes probe-knn."""
    name, _, chosen = stage.partition("@")
    _, _, rest = chosen.partition("-")
    return f"{name}-{rest}" if rest else name


def spoken(seconds: float) -> str:
    """Return a duration in words with at most two units: 8 s, 1 min 40 s, 2 h 5 min."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    units, whole = ("h", "min") if seconds >= 3570 else ("min", "s"), round(seconds)
    if units[1] == "min":
        whole = round(seconds / 60)
    first, second = divmod(whole, 60)
    return f"{first} {units[0]}" + (f" {second} {units[1]}" if second else "")
