"""The jobs of this study in the queue of Slurm: their name, what each does, how they are."""

import hashlib
import os
from pathlib import Path

from stages.study import slurm
from stages.study.errors import StudyError
from stages.study.paths import read_json, scratch


def job_name() -> str:
    """Return the name that all jobs of this study bear; another folder is another study."""
    return "study-" + hashlib.sha256(os.getcwd().encode()).hexdigest()[:8]


def record() -> Path:
    """Return the file in which the last submit says what each job does."""
    return scratch() / "slurm/jobs.json"


def queue_lines() -> list[str]:
    """Return the jobs of the last submit by state, in words, but for those that succeeded."""
    if not record().is_file():
        return []
    try:
        jobs, does = slurm.jobs(job_name()), read_json(record())
    except StudyError as error:
        return [f"{error}"]
    states: dict[str, list[str]] = {}
    for job in jobs:
        if job.name in does and job.state != "COMPLETED":
            waits = "requeued" if job.restarts else "queued"
            state = waits if job.state == "PENDING" else job.state.lower()
            where = f" on {job.nodes}" if job.state == "RUNNING" else ""
            states.setdefault(state, []).append(f"{does[job.name]} ({job.name}){where}")
    return [f"Slurm: {state}: {', '.join(names)}" for state, names in states.items()]
