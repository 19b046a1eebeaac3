"""Run the study with trainings and arms in parallel: `python -m stages.tools.repro`.

A second core speeds up a small ViT by a factor of 1.1 to 1.2; two trainings with one thread each gain nearly
2. The order is: stages that pre-training needs; trainings that the store lacks, without DVC; stages of each
arm; stages that combine arms. Several `dvc repro` can run in one project, because DVC locks it only while
looking at files, not while a stage runs.
"""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import networkx
from dvc.exceptions import ReproductionError
from joblib import cpu_count

from stages.study.command import exit_with
from stages.study.params import load_params, seeds_of
from stages.study.settings import Runtime
from stages.tools.forks import forks
from stages.tools.project import dvc_project, only_study
from stages.tools.remote import refuse_to_compute_again
from stages.tools.scrub import remove_damaged_objects
from stages.tools.trainings import lacking, longest_first

REPORT = "reports/index.html"
MOST_AT_ONCE = 4  # default limit, because every task holds its activations and batches in memory
# Lines that `dvc repro` prints at its end, for every skipped stage, and for results without content, such as
# those of `segment` if the data have no masks.
CHATTER = re.compile(
    "didn't change, skip|ating lock file 'dvc|To track the ch|git add |auto ?stag|`dvc push`|' is empty"
)
Slot = dict[str, str]  # environment variables for one parallel task: threads or devices


@dataclass(frozen=True)
class Task:
    """A command, and the names of the tasks that must end before it starts."""

    name: str
    command: tuple[str, ...]
    needs: frozenset[str] = frozenset()


def main() -> None:
    """Read the command line and run the study."""
    argparse.ArgumentParser(prog="python -m stages.tools.repro", description=__doc__).parse_args()
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it, so the study goes on
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        exit_with("repro", reproduce)
    except SystemExit as end:
        if end.code not in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            print("The study stopped. Solve the problem reported above, then run it again.", file=sys.stderr)
        raise


@only_study()
def reproduce() -> str:
    """Run the stages that `dvc repro` would run, with up to runtime.jobs tasks in parallel; name the report.

    Raises StudyError if another `make study` or DVC command runs in the project. If a stage fails, exits like
    `dvc repro`.
    """
    params = load_params()
    everything = Task("study", ("dvc", "repro"))  # runs whatever the other tasks have left
    graph, stale = stale_stages()
    if not stale:
        run([everything], slots=[{}])
        return f"Report: {os.path.abspath(REPORT)}"
    devices = visible_devices(params.runtime)
    at_most = sum(len(seeds_of(params, arm)) for arm in params.arms)
    slots = slots_of(params.runtime, devices=devices, at_most=at_most)
    with forks(slots[0], wanted=devices is None) as warm:
        slots = [slot | warm for slot in slots]
        if len(slots) > 1:
            if needed := shared(graph) & stale:
                run([Task("shared", ("dvc", "repro", *sorted(needed)))], slots=slots[:1])
            trainings = training_tasks(slots[0]) if any("pretrain@" in name for name in stale) else []
            run([*trainings, *arm_tasks(graph, stale=stale, trainings=trainings)], slots=slots)
        run([everything], slots=slots[:1])
    return f"Report: {os.path.abspath(REPORT)}"


def visible_devices(runtime: Runtime) -> list[str] | None:
    """Return the visible CUDA devices, an empty list for the GPU of a Mac, or None for a study on the CPU."""
    if runtime.accelerator == "cpu":
        return None
    import torch  # takes seconds

    if runtime.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return [] if torch.backends.mps.is_available() else None


def slots_of(runtime: Runtime, *, devices: list[str] | None, at_most: int) -> list[Slot]:
    """Return one slot per parallel task; on a CPU, jobs × threads fit its cores and quota.

    devices: see `visible_devices`
    at_most: number of tasks that can run in parallel
    """
    cores, each = cpu_count(), runtime.devices  # respects CPU affinity and cgroup
    if os.environ.get("STUDY_LAUNCH") and runtime.jobs is None:
        return [{}]  # the launcher assigns the devices
    places: list[Slot] = [{}]
    if devices is None:
        jobs = min(runtime.jobs or MOST_AT_ONCE, max(1, cores // (each * (runtime.threads or 1))))
    else:
        groups = [",".join(devices[i : i + each]) for i in range(0, len(devices) - each + 1, each)]
        places = [{"CUDA_VISIBLE_DEVICES": group} for group in groups] or places
        jobs = runtime.jobs or len(places)
    jobs = min(jobs, at_most)
    if jobs == 1:
        return [{}]
    threads = f"{max(1, cores // jobs)}"
    shares = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return [shares | places[i % len(places)] for i in range(jobs)]


def stale_stages() -> tuple[networkx.DiGraph, set[str]]:
    """Return the graph of stage names, with edges to dependencies, and the names of all stale stages.

    Stale are changed stages and all stages downstream of them. Damaged files of DVC are mended, and damaged
    objects that these stages could take from its cache are deleted.
    Raises StudyError as `dvc_project` does, or if a remote has results that are missing here.
    """
    try:
        with dvc_project(mends=True) as repo:
            status = repo.status()
            refuse_to_compute_again(repo, status)
            changed = set(status)
            if "check" in changed:  # its output never changes, so it triggers no other stage
                repo.reproduce("check", single_item=True)
                changed.remove("check")
            names = {stage: stage.addressing for stage in repo.index.graph}
            graph: networkx.DiGraph = networkx.relabel_nodes(repo.index.graph, names)
            stale = changed.union(*(networkx.ancestors(graph, name) for name in changed & set(graph)))
            remove_damaged_objects(repo, stale)
    except ReproductionError:
        sys.exit(2)  # the check has printed the reason
    return graph, stale


def shared(graph: networkx.DiGraph) -> set[str]:
    """Return the stages on which pre-training depends."""
    return set().union(*(networkx.descendants(graph, name) for name in graph if name.startswith("pretrain@")))


def training_tasks(slot: Slot) -> list[Task]:
    """Return a task for every pre-training that the store lacks, named by arm and seed, longest first."""
    given = (os.environ | slot).get("STUDY_LAUNCH")
    launch = shlex.split(given) if given else [sys.executable]
    missing = longest_first(lacking("pretrain"))
    return [Task(f"{t.arm} {t.seed}", (*launch, *t.command.split())) for t in missing]


def arm_tasks(graph: networkx.DiGraph, *, stale: set[str], trainings: list[Task]) -> list[Task]:
    """Return a task for the stale stages of each arm, and for each stale stage that combines arms.

    Arms are independent of each other. The task of an arm waits for the trainings of that arm.
    """
    home = {}  # stage -> name of its task
    for name in reversed(list(networkx.lexicographical_topological_sort(graph))):  # dependencies first
        arms = {need for need in {name, *networkx.descendants(graph, name)} if need.startswith("pretrain@")}
        home[name] = arms.pop() if len(arms) == 1 else name
    tasks = []
    for task in dict.fromkeys(home.values()):
        names = [name for name in home if home[name] == task and name not in shared(graph)]
        if not stale & set(names):
            continue
        arm = task.removeprefix("pretrain@")
        # For every target, DVC spends seconds on reading dvc.yaml and dvc.lock; patterns save targets.
        whole = arm != task and f"report@{arm}" not in graph
        targets = (f"*@{arm}", f"*@{arm}-*") if whole else tuple(names)
        needs = {home[need] for name in names for need in graph.successors(name)} - {task}
        needs |= {training.name for training in trainings if training.name.split()[0] == arm}
        # Without --single-item, DVC also locks dependencies that other tasks are writing.
        command = ("dvc", "--wait-for-lock", "repro", "--single-item", "--glob", *targets)
        tasks.append(Task(task, command, frozenset(needs)))
    return tasks


def run(tasks: list[Task], *, slots: list[Slot]) -> None:
    """Run tasks in order as soon as the tasks they need have ended, one at a time in each slot.

    After a failure, no new task starts, running tasks finish, and the exit status is that of the failure.
    Ctrl-C, SIGTERM and a closed terminal stop all running tasks.
    """
    waiting, free, status = list(tasks), list(slots), 0
    running: dict[Future[int], tuple[Task, Slot, subprocess.Popen[str]]] = {}
    screen = threading.Lock()
    with ThreadPoolExecutor(len(slots)) as pool:
        try:
            while True:
                unfinished = {task.name for task in [*waiting, *(task for task, *_ in running.values())]}
                for task in [t for t in waiting if not t.needs & unfinished][: 0 if status else len(free)]:
                    waiting.remove(task)
                    slot = free.pop()
                    process = start(task.command, slot=slot)
                    running[pool.submit(follow, process, screen)] = (task, slot, process)
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    status = status or future.result()
                    free.append(running.pop(future)[1])
        except BaseException as stop:
            number = signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM
            for *_, process in running.values():
                if process.poll() is None:
                    os.killpg(process.pid, number)
            raise  # the pool waits while the stages save their state
    if status:
        sys.exit(status)


def start(command: tuple[str, ...], *, slot: Slot) -> "subprocess.Popen[str]":
    """Start a command in its own process group, so a signal reaches DVC and its stage exactly once."""
    pipe, same, none = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL
    return subprocess.Popen(
        command, env=os.environ | slot, text=True, process_group=0, stdin=none, stdout=pipe, stderr=same
    )


def follow(process: "subprocess.Popen[str]", screen: threading.Lock) -> int:
    """Print the output of a process by whole lines, so parallel tasks do not mix; return the exit status.

    If nobody reads any more, as in `make study | head`, the process goes on in silence.
    """
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() and not CHATTER.search(line):
            with screen:
                try:
                    print(line, end="", flush=True)
                except OSError:
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return process.wait()


if __name__ == "__main__":
    main()
