"""Submit the study to Slurm: `python -m stages.tools.submit [--dry]`, on a login node.

The jobs are: prepare -> an array over all missing trainings -> one job per arm -> gather. No process stays on
the login node. `runtime.slurm` in params.yaml holds the options of each kind of job. Shortly before its time
limit, a job stops and is queued again; a training resumes from its last epoch. If a job fails, Slurm cancels
the jobs that need it, and all others continue. The next submit sends the remaining work.
"""

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from stages.study import slurm
from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.params import load_params, seeds_of
from stages.study.paths import write_json
from stages.study.settings import Slurm
from stages.study.study import Study
from stages.study.words import counted
from stages.tools.jobs import job_name, record
from stages.tools.repro import Task, arm_tasks, shared, stale_stages
from stages.tools.trainings import Lacking, lacking

ALONE = ("srun", "--nodes=1", "--ntasks=1")
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
# The number of threads is that of the job, not of the submitting shell; srun does not inherit it from sbatch.
# The command runs as a step, so the signal reaches all its processes while shell and srun wait for their end.
SCRIPT = """#!/bin/bash
#SBATCH --requeue --open-mode=append --kill-on-invalid-dep=yes --signal=B:USR1@120
export PATH={path}:$PATH STUDY_PYTHON="${{STUDY_PYTHON:-python}}"
export STUDY_LAUNCH=$STUDY_PYTHON  # trainings have ended before DVC collects them
export OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-1}} MKL_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-1}}
if [ "$SLURM_CPUS_PER_TASK" ]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi
stop() {{
  again=1; echo "stopping shortly before the time limit, to be queued again"
  scancel --signal=TERM "$SLURM_JOB_ID"
}}
trap stop USR1
trap : TERM
commands=({commands})
eval "exec ${{commands[${{SLURM_ARRAY_TASK_ID:-0}}]}}" & child=$!
while true; do wait $child; status=$?; kill -0 $child 2>/dev/null || break; done
if [ "$again" ] && [ $status != 0 ]; then scontrol requeue "$SLURM_JOB_ID"; sleep 60; fi
exit $status
"""


@dataclass(frozen=True)
class Batch:
    """A job, or an array of jobs, with the tasks that must succeed before it."""

    kind: str  # prepare, pretrain, evaluate or gather: the key in runtime.slurm
    commands: dict[str, str]  # task -> command; several tasks form an array
    needs: tuple[str, ...] = ()  # tasks that must succeed first


def main() -> None:
    """Read the command line and submit the study."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.submit", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--dry",
        action="store_true",
        help="check and mend the project as always, but print the jobs instead of submitting them",
    )
    dry = parser.parse_args().dry
    exit_with("submit", lambda: submit(dry=dry))


def submit(*, dry: bool = False) -> str:
    """Submit jobs for all stale stages.

    Raises StudyError if jobs of this study are in the queue. If Slurm refuses a job, cancels those already
    submitted and raises StudyError.
    """
    params = load_params()
    if not dry and (waiting := [job for job in slurm.jobs(job_name()) if job.state not in ENDED]):
        raise StudyError(
            f"the queue has {counted(len(waiting), 'job')} of this study, first {waiting[0].name}; wait for "
            f"them, or cancel them with `scancel --name {job_name()}`"
        )
    graph, stale = stale_stages()
    if not stale:
        return "every stage is done; nothing to submit"
    before = sorted(shared(graph) & stale)
    trainings = wanted(params, known=not before) if any("pretrain@" in name for name in stale) else []
    arms = [task for task in arm_tasks(graph, stale=stale, trainings=[]) if task.name.startswith("pretrain@")]
    numbers: dict[str, str] = {}  # of jobs, by what they do
    for batch in plan(before=before, trainings=trainings, arms=arms):
        words = sbatch(batch, settings=params.runtime.slurm, numbers=numbers)
        script = script_of(batch)
        if dry:
            print(
                shlex.join(words), *(f"  {name}: {line}" for name, line in batch.commands.items()), sep="\n"
            )
        number = batch.kind.upper() if dry else send(words, script=script, sent=numbers)
        for index, name in enumerate(batch.commands):
            numbers[name] = f"{number}_{index}" if batch.kind == "pretrain" else number
    if dry:
        return ""
    write_json(record(), {number: name for name, number in numbers.items()})
    return (
        f"{counted(len(numbers), 'job')}; `make status` shows them, {record().parent}/*.log have their output"
    )


def script_of(batch: Batch) -> str:
    """Return the script of a job."""
    path = shlex.quote(f"{Path(sys.executable).parent}")
    return SCRIPT.format(path=path, commands=shlex.join(batch.commands.values()))


def wanted(params: Study, *, known: bool) -> list[Lacking]:
    """Return the trainings to submit: those that the store lacks, or all if the data are not prepared yet.

    The job of a training that is already in the store ends at once.
    """
    if known:
        return lacking("pretrain")
    return [Lacking("pretrain", arm, seed) for arm in params.arms for seed in seeds_of(params, arm)]


def plan(*, before: list[str], trainings: list[Lacking], arms: list[Task]) -> list[Batch]:
    """Return the jobs of a study, dependencies first.

    before: stale stages that pre-training needs
    arms:   remaining tasks of each arm
    """
    batches, repro = [], ["dvc", "--wait-for-lock", "repro"]
    if before:
        batches.append(Batch("prepare", {"prepare": shlex.join([*ALONE, *repro, *before])}))
    first = ("prepare",) if before else ()
    if trainings:
        # srun starts one process per task of the job.
        commands = {each.name: f"srun --kill-on-bad-exit=1 python {each.command}" for each in trainings}
        batches.append(Batch("pretrain", commands, first))
    for task in arms:
        arm = task.name.removeprefix("pretrain@")
        needs = tuple(each.name for each in trainings if each.arm == arm)
        batches.append(
            Batch("evaluate", {f"evaluate@{arm}": shlex.join([*ALONE, *task.command])}, needs or first)
        )
    evaluated = tuple(name for batch in batches if batch.kind == "evaluate" for name in batch.commands)
    return [*batches, Batch("gather", {"gather": shlex.join([*ALONE, *repro])}, evaluated or first)]


def sbatch(batch: Batch, *, settings: Slurm, numbers: dict[str, str]) -> list[str]:
    """Return the command that submits a batch.

    numbers: task -> number of its job, for the jobs already submitted
    """
    name = next(iter(batch.commands)) if len(batch.commands) == 1 else batch.kind
    words = ["sbatch", "--parsable", f"--job-name={job_name()}"]
    if batch.kind == "pretrain":
        words.append(f"--array=0-{len(batch.commands) - 1}" + (f"%{settings.cap}" if settings.cap else ""))
        name = "pretrain-%A_%a"  # as `make status` names the job
    if batch.needs:
        words.append("--dependency=afterok:" + ":".join(numbers[need] for need in batch.needs))
    return [*words, f"--output={record().parent}/{name}.log", *shlex.split(getattr(settings, batch.kind))]


def send(words: list[str], *, script: str, sent: dict[str, str]) -> str:
    """Submit a job and return its number.

    Raises StudyError if Slurm refuses it; the jobs already submitted are then cancelled.
    """
    record().parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(words, input=script, text=True, capture_output=True)
    if done.returncode:
        if sent:
            subprocess.run(["scancel", *{number.partition("_")[0] for number in sent.values()}])
        reason = done.stderr.strip().replace("\n", "; ")
        raise StudyError(f"Slurm refuses `{shlex.join(words)}`: {reason}; see runtime.slurm in params.yaml")
    return done.stdout.strip().partition(";")[0]


if __name__ == "__main__":
    main()
