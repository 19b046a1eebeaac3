"""The jobs of this user as Slurm's queue has them."""

import subprocess
from dataclasses import dataclass
from functools import lru_cache

from stages.study.errors import StudyError

FIELDS = ("JobArrayID", "JobID", "State", "NodeList", "Reason", "RestartCnt")


@dataclass(frozen=True)
class Job:
    """One job, or one element of an array."""

    name: str  # 12, or 12_3 of an array
    number: str  # as SLURM_JOB_ID has it, which no other element shares
    state: str  # as Slurm spells it: PENDING, RUNNING, FAILED, ...
    nodes: str
    reason: str  # why it waits or failed; None: for no reason
    restarts: int  # how often it was put back into the queue


def jobs(study: str | None = None) -> list[Job]:
    """Return the jobs that Slurm remembers, ended ones of the last minutes too.

    study: name of the jobs of one study; None: all of this user
    Raises StudyError if Slurm does not answer.
    """
    words = ["squeue", "--me", "--noheader", "--array", "--states=all", "--sort=i"]
    words += ["--Format", ",".join(f"{field}:|" for field in FIELDS)]
    try:
        done = subprocess.run(
            [*words, *(["--name", study] if study else [])], text=True, capture_output=True, timeout=60
        )
    except FileNotFoundError:
        raise StudyError("Slurm is not installed here: there is no squeue on the path") from None
    except subprocess.TimeoutExpired:
        raise StudyError("Slurm does not answer: squeue took more than a minute") from None
    if done.returncode:
        raise StudyError(f"Slurm does not answer: {done.stderr.strip().partition(chr(10))[0]}")
    queue = []
    for line in done.stdout.splitlines():
        name, number, state, nodes, reason, restarts, _ = line.split("|")
        queue.append(Job(name, number, state, nodes, reason, int(restarts)))
    return queue


@lru_cache(maxsize=1)
def running() -> frozenset[str] | None:
    """Return the numbers of all jobs that run now, asked for once; None if Slurm cannot be asked."""
    try:
        return frozenset(job.number for job in jobs() if job.state == "RUNNING")
    except StudyError:
        return None
