"""What stages did and when, a line each in scratch/timings.jsonl, which is no out and may be missing."""

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

REMEMBERED = 5  # runs of a stage that tell how long its next one takes


@dataclass
class Run:
    """One run of a stage, as far as it came."""

    stage: str
    process: int
    began: float  # seconds since 1970
    ended: float | None = None  # None: it has not ended, or was killed before it could say so
    outcome: str = ""  # done, failed, interrupted; empty as long as it has not ended
    seconds: float = 0.0  # from the start of its process to its end, imports included
    said: str = ""  # its key result, or what went wrong
    epoch: int | None = None  # the last one that was saved
    epochs: int | None = None
    ran_with: list[str] = field(default_factory=list)  # objective, device, precision
    host: str = field(default_factory=platform.node)
    job: str = ""  # number of the job of Slurm

    @property
    def saved(self) -> str:
        """How much of a training is kept, in words; nothing if none is, or if it is no training."""
        return f"saved up to epoch {self.epoch} of {self.epochs}" if self.epoch else ""

    @property
    def ending(self) -> str:
        """How it ended, and what it left, in words."""
        return ", ".join(filter(None, [self.outcome or "killed", self.said, self.saved]))

    @property
    def alive(self) -> bool:
        """Whether it has not ended and its job or process is there, and is not another with the same number.

        Of another machine without Slurm nobody can tell; then it counts as alive.
        """
        if self.ended is not None:
            return False
        if self.job and (jobs := slurm.running()) is not None:
            return self.job in jobs
        if self.host != platform.node():
            return True
        with suppress(psutil.Error):
            return psutil.Process(self.process).create_time() <= self.began + 1
        return False


def timings_file() -> Path:
    """Where all of it is kept."""
    return scratch() / "timings.jsonl"


def note(event: str, **about: Any) -> None:
    """Append one line: what this process did, when. Whatever hinders it is no reason to stop a stage.

    event: began, saved, done, failed or interrupted; about: values of JSON, such as stage="pretrain@cl"
    """
    here = {"process": os.getpid(), "host": platform.node(), "job": os.environ.get("SLURM_JOB_ID", "")}
    line = json.dumps({"time": round(time.time(), 3), "event": event} | here | about)
    with suppress(OSError):
        timings_file().parent.mkdir(parents=True, exist_ok=True)
        # One write at the end of the file, so that the lines of stages that run side by side do not mix.
        file = os.open(timings_file(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)


def read_runs() -> list[Run]:
    """All runs there were, in the order in which they began; a line that is not whole is left out."""
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
            else:
                run.ended, run.outcome = event["time"], event["event"]
                run.seconds, run.said = event["seconds"], event["said"]
    return runs


def expected_seconds(stage: str, runs: list[Run]) -> float | None:
    """How long a stage should take: the longest of its last five whole runs, since one that went on from a
    checkpoint tells of its rest alone; of a stage that never ran, the median of such stages of other arms,
    unless it is a pre-training, which takes as long as its objective does; None if nothing is known.

    stage: as DVC addresses it, e.g. probe@cl-knn, or one training of it, e.g. pretrain@cl-0
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
    """Return the name of a training without its seed, pretrain@cl-* of pretrain@cl-0; others stay."""
    return re.sub(r"-\d+$", "-*", stage)


def kind(stage: str) -> str:
    """The address of a stage without its arm: probe-knn of probe@cl-knn; analyses of `report` are no arms."""
    name, _, chosen = stage.partition("@")
    _, _, rest = chosen.partition("-")
    return f"{name}-{rest}" if rest else name


def spoken(seconds: float) -> str:
    """A duration to two places at most: 8 s, 1 min 40 s, 2 h 5 min."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    units, whole = ("h", "min") if seconds >= 3570 else ("min", "s"), round(seconds)
    if units[1] == "min":
        whole = round(seconds / 60)
    first, second = divmod(whole, 60)
    return f"{first} {units[0]}" + (f" {second} {units[1]}" if second else "")
