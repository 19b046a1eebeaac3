"""The jobs of this study in the queue of Slurm: name, task and state."""

import hashlib
import os
from pathlib import Path

from stages.study import slurm
from stages.study.errors import StudyError
from stages.study.paths import read_json, scratch


def job_name() -> str:
    """Return the common name of all jobs of this study, which depends on the folder."""
    return "study-" + hashlib.sha256(os.getcwd().encode()).hexdigest()[:8]


def record() -> Path:
    """Return the file in which the last submit has recorded the task of each job."""
    return scratch() / "slurm/jobs.json"


def elsewhere() -> bool:
    """Return whether Slurm runs jobs of this study, whose process numbers are those of other machines."""
    try:
        return record().is_file() and any(job.state == "RUNNING" for job in slurm.jobs(job_name()))
    except StudyError:
        return False


def queue_lines() -> list[str]:
    """Return one line per state with the unfinished and failed jobs of the last submit."""
    if not record().is_file():
        return []
    try:
        jobs, tasks = slurm.jobs(job_name()), read_json(record())
    except StudyError as error:
        return [f"{error}"]
    states: dict[str, list[str]] = {}
    for job in jobs:
        if job.name in tasks and job.state != "COMPLETED":
            pending = "requeued" if job.restarts else "queued"
            state = pending if job.state == "PENDING" else job.state.lower()
            where = f" on {job.nodes}" if job.state == "RUNNING" else ""
            states.setdefault(state, []).append(f"{tasks[job.name]} ({job.name}){where}")
    return [f"Slurm: {state}: {', '.join(names)}" for state, names in states.items()]
