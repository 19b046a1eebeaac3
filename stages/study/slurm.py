"""Read this user's jobs from Slurm's queue."""

import subprocess
from dataclasses import dataclass
from functools import lru_cache

from stages.study.errors import StudyError

FIELDS = ("JobArrayID", "JobID", "State", "NodeList", "Reason", "RestartCnt")


@dataclass(frozen=True)
class Job:
    """One job, or one element of a job array."""

    name: str  # 12, or 12_3 for an element of an array
    number: str  # the job's SLURM_JOB_ID, unique for each element of an array
    state: str  # in Slurm's words: PENDING, RUNNING, FAILED, ...
    nodes: str
    reason: str  # why the job waits or failed; "None" if Slurm gives no reason
    restarts: int  # how often the job was put back into the queue


def jobs(study: str | None = None) -> list[Job]:
    """Return the jobs in Slurm's queue, including those that ended in the last few minutes.

    study: name of one study's jobs; None: all jobs of this user
    Raises StudyError if Slurm does not answer.
    """
    words = ["squeue", "--me", "--noheader", "--array", "--states=all", "--sort=i"]
    words += ["--Format", ",".join(f"{field}:|" for field in FIELDS)]
    try:
        done = subprocess.run(
            [*words, *(["--name", study] if study else [])], text=True, capture_output=True, timeout=60
        )
    except FileNotFoundError:
        raise StudyError("squeue: command not found; run this where Slurm is installed") from None
    except subprocess.TimeoutExpired:
        raise StudyError("squeue: no answer from Slurm within a minute; try again later") from None
    if done.returncode:
        raise StudyError(f"squeue: {done.stderr.strip().partition(chr(10))[0]}")
    queue = []
    for line in done.stdout.splitlines():
        name, number, state, nodes, reason, restarts, _ = line.split("|")
        queue.append(Job(name, number, state, nodes, reason, int(restarts)))
    return queue


@lru_cache(maxsize=1)
def running() -> frozenset[str] | None:
    """Return the numbers of all running jobs, queried once per process; None if Slurm does not answer."""
    try:
        return frozenset(job.number for job in jobs() if job.state == "RUNNING")
    except StudyError:
        return None
