"""`dvc repro` with several arms side by side: `python -m stages.tools.repro`.

The stages of one arm wait for no other arm, and a small ViT gains little from a second core: 1.1 to 1.2
times, where two arms of one thread each gain nearly 2. DVC lets several `dvc repro` work in one project at
once: its lock is held only while DVC looks at files, not while a stage runs. On a CPU the stages are forks of
a process that has imported their libraries, since most of them compute for less time than imports take.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase

import networkx
from dvc.exceptions import DvcException, ReproductionError
from dvc.lock import LockError
from dvc.repo import Repo

from stages.study.command import Terminated, exit_with
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.settings import Runtime
from stages.tools.preloaded import preloaded

MOST_AT_ONCE = 4  # by itself; each holds a process, its activations and batches in memory
CHATTER = (  # what every `dvc repro` says at its end, and of each stage that is left as it was
    "didn't change, skipping",
    "ating lock file 'dvc.lock'",
    "To track the changes with git, run:",
    "git add ",
    "To enable auto staging, run:",
    "dvc config core.autostage",
    "Use `dvc push`",
)


@dataclass(frozen=True, eq=False)
class Task:
    """Stages that one `dvc repro` runs one after the other, and what it is told to run."""

    stages: tuple[str, ...]
    targets: tuple[str, ...]


def main() -> None:
    """Read the command line and run what changed."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.repro", description=__doc__)
    parser.parse_args()
    exit_with("repro", reproduce)


def reproduce() -> str:
    """Run the study, with as many arms at once as runtime.jobs says; what `dvc repro` would run, no more.

    Raises StudyError if another DVC command holds the project; exits as `dvc repro` does if a stage fails.
    """
    params = load_params()
    slots = slots_of(params.runtime, arms=len(params.arms))
    if len(slots) > 1:
        tasks = changed_tasks()
        on_cpu = "OMP_NUM_THREADS" in slots[0] and "CUDA_VISIBLE_DEVICES" not in slots[0]
        cold: AbstractContextManager[dict[str, str]] = nullcontext({})
        with preloaded(slots[0]) if tasks and on_cpu else cold as warm:
            status = side_by_side(tasks, slots=[slot | warm for slot in slots])
        if status:
            sys.exit(status)
    # With one slot this runs everything; else it sees that nothing is left.
    status = subprocess.run(["dvc", "repro"]).returncode
    if status:
        sys.exit(status)
    return ""


def slots_of(runtime: Runtime, *, arms: int) -> list[dict[str, str]]:
    """What to add to the environment of each task that runs at the same time: threads, or devices.

    arms: number of arms, which is as many as can run at once
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = _devices(runtime)
    if os.environ.get("STUDY_LAUNCH") and runtime.jobs is None:
        return [{}]  # the launcher hands out the devices itself
    if devices is None:
        jobs = min(arms, runtime.jobs or min(max(1, cores // runtime.devices), MOST_AT_ONCE))
        places: list[dict[str, str]] = [{} for _ in range(jobs)]
    else:
        groups = [
            ",".join(devices[first : first + runtime.devices])
            for first in range(0, len(devices) - runtime.devices + 1, runtime.devices)
        ]
        jobs = min(arms, runtime.jobs or len(groups) or 1)
        places = [{"CUDA_VISIBLE_DEVICES": groups[i % len(groups)]} if groups else {} for i in range(jobs)]
    if jobs == 1:
        return [{}]
    threads = {name: str(max(1, cores // jobs)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return [threads | place for place in places]


def _devices(runtime: Runtime) -> list[str] | None:
    """The GPUs that CUDA shows, one for a Mac's, None for a study on the CPU."""
    if runtime.accelerator == "cpu":
        return None
    import torch  # takes seconds

    if runtime.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return [] if torch.backends.mps.is_available() else None


def changed_tasks() -> networkx.DiGraph:
    """The tasks of the stages that changed and of all that follow them; edges lead to what a task needs.

    The pre-training of an arm is a task, all other stages of the arm together are one, and each stage that
    belongs to no arm or to several is one.
    Raises StudyError if another DVC command holds the project, or if DVC cannot read it.
    """
    try:
        with Repo() as repo:
            changed = set(repo.status())
            if "check" in changed:  # it writes the same whenever it runs, so no stage runs because of it
                repo.reproduce("check", single_item=True)
                changed.remove("check")
            graph: networkx.DiGraph = networkx.relabel_nodes(
                repo.index.graph, {stage: stage.addressing for stage in repo.index.graph}
            )
    except ReproductionError:
        sys.exit(2)  # the check says why
    except LockError:
        raise StudyError("another DVC command is at work in this project; let it end first") from None
    except DvcException as error:
        raise StudyError(f"DVC cannot read this project: {error}") from None
    tasks = tasks_of(graph)
    stale = changed.union(*(networkx.ancestors(graph, name) for name in changed & set(graph)))
    tasks.remove_nodes_from([task for task in tasks if not stale & set(task.stages)])
    return tasks


def tasks_of(graph: networkx.DiGraph) -> networkx.DiGraph:
    """Gather the stages of DVC's graph, by name, into tasks; edges lead to what is needed."""
    pretraining = {name for name in graph if name.startswith("pretrain@")}
    groups: dict[str, list[str]] = {}
    for name in reversed(list(networkx.lexicographical_topological_sort(graph))):  # what is needed first
        arms = networkx.descendants(graph, name) & pretraining
        alone = name in pretraining or len(arms) != 1
        groups.setdefault(name if alone else f"after {arms.pop()}", []).append(name)
    tasks = [Task(stages=tuple(names), targets=targets_of(names, among=graph)) for names in groups.values()]
    # In this order they start when several could: the long pre-training first.
    tasks.sort(key=lambda task: task.stages[0] not in pretraining)
    home = {name: task for task in tasks for name in task.stages}
    needs: networkx.DiGraph = networkx.DiGraph()
    needs.add_nodes_from(tasks)
    needs.add_edges_from((home[a], home[b]) for a, b in graph.edges if home[a] is not home[b])
    return needs


def targets_of(names: Sequence[str], *, among: Iterable[str]) -> tuple[str, ...]:
    """Stages as `dvc repro --glob` takes them: those of an arm as two patterns, others by their names.

    DVC parses dvc.yaml and dvc.lock, which takes seconds, anew for each target, and has the stages of a
    pattern in the order of dvc.yaml. The pre-training of the arm, which was before, changes nothing then.
    """
    arm, *others = {name.partition("@")[2].partition("-")[0] for name in names}
    patterns = (f"*@{arm}", f"*@{arm}-*")
    matched = {name for name in among if any(fnmatchcase(name, pattern) for pattern in patterns)}
    whole = not others and matched - {f"pretrain@{arm}"} == set(names)
    return patterns if whole and len(names) > len(patterns) else tuple(names)


def simulated(
    tasks: networkx.DiGraph, *, seconds: Mapping[str, float], at_once: int, begun: Container[str] = ()
) -> float:
    """Seconds that `side_by_side` needs for tasks whose stages take so long; one not named takes none.

    begun: stages that are at work already, whose tasks go on before others start
    """
    waiting = sorted(tasks, key=lambda task: not any(stage in begun for stage in task.stages))
    ends: dict[Task, float] = {}  # of the tasks that run
    now = 0.0
    while waiting or ends:
        for task in startable(tasks, waiting=waiting, running=ends)[: at_once - len(ends)]:
            waiting.remove(task)
            ends[task] = now + sum(seconds.get(stage, 0.0) for stage in task.stages)
        now = min(ends.values())
        ends = {task: end for task, end in ends.items() if end > now}
    return now


def startable(tasks: networkx.DiGraph, *, waiting: Iterable[Task], running: Iterable[Task]) -> list[Task]:
    """The waiting tasks all of whose needs are done, those that start first at the front."""
    unfinished = {*waiting, *running}
    return [task for task in waiting if not unfinished & set(tasks.successors(task))]


def side_by_side(tasks: networkx.DiGraph, *, slots: list[dict[str, str]]) -> int:
    """Run every task when what it needs is done, one at a time in each slot; return the first exit status.

    After a failure no task is begun and those that run go on to their end. Ctrl-C and SIGTERM reach them all.
    """
    free = list(slots)
    waiting = list(tasks)
    running: dict[Future[int], tuple[Task, dict[str, str]]] = {}
    processes: dict[Task, subprocess.Popen[str]] = {}
    screen = threading.Lock()
    status = 0
    with ThreadPoolExecutor(len(slots)) as pool:
        try:
            while True:
                ready = startable(tasks, waiting=waiting, running=[task for task, _ in running.values()])
                for task in ready[: 0 if status else len(free)]:
                    slot = free.pop()
                    waiting.remove(task)
                    processes[task] = _start(task, slot=slot)
                    running[pool.submit(_follow, processes[task], screen)] = (task, slot)
                if not running:
                    return status
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task, slot = running.pop(future)
                    free.append(slot)
                    status = status or future.result()
        except (KeyboardInterrupt, Terminated) as stop:
            number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
            for task, _ in running.values():
                if processes[task].poll() is None:
                    os.killpg(processes[task].pid, number)
            raise  # leaving the pool waits for what the stages save


def _start(task: Task, *, slot: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        # One by one and in this order: DVC would else lock, to look at them, what other tasks are writing.
        ["dvc", "--wait-for-lock", "repro", "--single-item", "--glob", *task.targets],
        env={**os.environ, **slot},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,  # a signal reaches DVC and its stage, once
    )


def _follow(process: "subprocess.Popen[str]", screen: threading.Lock) -> int:
    """Print whole lines as they come, so that those of several tasks do not mix."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() and not any(words in line for words in CHATTER):
            with screen:
                print(line, end="", flush=True)
    return process.wait()


if __name__ == "__main__":
    main()
