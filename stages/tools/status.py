"""Show what is done, what `make study` would run, and why: `python -m stages.tools.status`.

`dvc status` and `dvc repro --dry` list only stages with changes of their own, not the stages downstream. This
command walks the graph like `dvc repro` and reports what can be known in advance:

- done: nothing has changed.
- runs: an input or output of the stage has changed.
- cached: the same, but DVC has results for these inputs in its cache.
- may run: the stage reads the output of a stage that runs, and runs only if this output changes.

A training stage trains only what the store lacks; these trainings are listed. The command locks nothing and
never waits, so it also works while a study is running.
"""

import argparse
import json
import logging
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import networkx
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.logger import set_loggers_level
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages.study.command import exit_with
from stages.study.documents import read_yaml
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.study import Study
from stages.study.timings import Run, expected_seconds, read_runs, spoken
from stages.tools.jobs import queue_lines
from stages.tools.project import dvc_project, whole_graph
from stages.tools.trainings import STAGES as TRAINING
from stages.tools.trainings import Lacking, lacking

DONE, RUNS, CACHED, MAY_RUN, RUNNING = "done", "runs", "cached", "may run", "running"
CHECK = "check"  # the output of this stage never changes, so it triggers no other stage
STYLES = {DONE: "green", RUNS: "bold yellow", CACHED: "cyan", MAY_RUN: "yellow", RUNNING: "bold blue"}
VERBS = {RUNS: "run", CACHED: "come from the cache", MAY_RUN: "may run"}
MOST_REASONS, MOST_NAMES = 12, 6  # limits of the printed lists


@dataclass
class Row:
    """One stage with its state, the reasons, the expected time, and the failure of its last run."""

    stage: str
    state: str
    why: list[str] = field(default_factory=list)
    waits: bool = False  # another stage may change its inputs first
    lacks: list[int] | None = None  # seeds that the store lacks; None: not known, or no training stage
    seconds: float | None = None  # None: not known, because no similar stage has run here
    failed: str = ""


def main() -> None:
    """Read the command line and print the status."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.status", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="print every stage with its reasons as JSON")
    as_json = parser.parse_args().json
    exit_with("status", lambda: status(as_json=as_json))


def status(*, as_json: bool = False) -> str:
    """Print a table of all stages, or return them as JSON. Raises StudyError without a valid DVC project."""
    study = load_params()
    for attempt in range(6):  # DVC does not write dvc.lock atomically
        try:
            rows = rows_of()
            break
        except StudyError:
            if attempt == 5:
                raise
            time.sleep(0.5)
    trains = any(row.stage.startswith(TRAINING) and row.state not in (DONE, MAY_RUN) for row in rows)
    complete(rows, runs=(runs := read_runs()), missing=lacking(*TRAINING) if trains else [])
    if as_json:
        return json.dumps({"stages": [asdict(row) for row in rows]}, indent=2)
    show(rows, graph=read_yaml(Path("dvc.yaml"))["stages"], study=study)
    for line in [*reports(rows, runs), *queue_lines(), *reasons(rows), *trainings(rows), summary(rows)]:
        print(line)
    return ""


def rows_of() -> list[Row]:
    """Return a row for every stage, dependencies first, without times."""
    rows: dict[PipelineStage, Row] = {}
    settled: set[PipelineStage] = set()  # stages whose outs will match dvc.lock
    with dvc_project() as repo:
        graph = whole_graph(repo)  # edges lead from a stage to its dependencies
        order = networkx.lexicographical_topological_sort(graph, key=lambda stage: stage.addressing)
        for stage in reversed(list(order)):
            needs = list(graph.successors(stage))
            later = [out.fs_path for need in needs if rows[need].state != DONE for out in need.outs]
            inputs, outs = changed_inputs(stage, later=later), changed_outs(stage)
            row = rows[stage] = Row(stage.addressing, DONE, inputs + outs, not settled.issuperset(needs))
            if row.why:
                cached = not row.waits and in_cache(stage, same_inputs=not inputs)
                row.state = CACHED if cached else RUNS
            elif row.waits:
                before = [need for need in rows if need in networkx.descendants(graph, stage) - settled]
                row.why = [f"{need.addressing} would run" for need in before if rows[need].state == RUNS]
                row.why += [
                    f"{need.addressing} comes from the cache" for need in before if rows[need].state == CACHED
                ]
                row.state = MAY_RUN
            if row.state == DONE or (row.state == CACHED and not inputs) or row.stage == CHECK:
                settled.add(stage)
    return list(rows.values())


def changed_inputs(stage: PipelineStage, *, later: list[str]) -> list[str]:
    """Return in words how the inputs of a stage differ from dvc.lock.

    later: paths that other stages will write before this stage runs
    """
    if not any(dep.hash_info for dep in stage.deps):
        return ["never run"]
    verbs = {"deleted": "is missing", "new": "is a new input", "modified": "changed"}
    words = ["its command changed"] if stage.changed_stage() else []
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            words += changed_values(dep.hash_info.value or {}, dep.read_params(), names=dep.params)
        elif not any(overlap(dep.fs_path, path) for path in later):
            words += [f"{dep.def_path} {verbs[word]}" for word in dep.workspace_status().values()]
    return words


def changed_outs(stage: PipelineStage) -> list[str]:
    """Return in words how the outs of a stage differ from dvc.lock."""
    verbs = {"deleted": "is missing", "new": "is a new output", "modified": "was modified after the run"}
    words = []
    for out in stage.outs if any(dep.hash_info for dep in stage.deps) else []:
        with suppress(FileNotFoundError):  # the file disappeared during reading
            words += [f"{out.def_path} {verbs.get(word, f'is {word}')}" for word in out.status().values()]
    return words


def changed_values(before: dict[str, Any], now: dict[str, Any], *, names: list[str]) -> list[str]:
    """Return changed parameters in words, such as `arms.hybrid.cl_weight 0.2 → 0.5`.

    before, now: values of the last run, and of params.yaml
    names: the parameters that the stage declares
    """
    old, new = ({key: v for name in names if name in values for key, v in flat(values[name], name)}
                for values in (before, now))  # fmt: skip
    words = [f"{key} {shown(old[key])} removed" for key in old if key not in new]
    words += [f"{key} {shown(new[key])} added" for key in new if key not in old]
    return words + [
        f"{key} {shown(old[key])} → {shown(new[key])}" for key in old if old[key] != new.get(key, old[key])
    ]


def flat(value: Any, name: str) -> list[tuple[str, Any]]:
    """Flatten nested mappings to pairs of dotted names and values."""
    if isinstance(value, dict):
        return [pair for key, part in value.items() for pair in flat(part, f"{name}.{key}")]
    return [(name, value)]


def shown(value: Any) -> str:
    """Return a value as in params.yaml, shortened if it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def in_cache(stage: PipelineStage, *, same_inputs: bool) -> bool:
    """Return whether DVC would take the outs of a stage from its cache instead of running it."""
    try:
        if not same_inputs:  # look for outs of an earlier run, not of dvc.lock; this changes memory only
            stage.save_deps()
            for out in stage.outs:
                out.clear()
        with set_loggers_level(logging.WARNING):  # else DVC prints a line about its cache
            stage.repo.stage_cache.restore(stage, dry=True)
    except (RunCacheNotFoundError, DvcException, FileNotFoundError):
        return False
    return bool(stage.outs)


def overlap(one: str, other: str) -> bool:
    """Return whether two paths are equal, or one contains the other."""
    return one == other or one.startswith(other + os.sep) or other.startswith(one + os.sep)


def complete(rows: list[Row], *, runs: list[Run], missing: list[Lacking]) -> None:
    """Add expected times, running stages, failures and missing trainings to the rows."""
    latest = {run.stage: run for run in runs}
    for row in rows:
        run = latest.get(row.stage)
        if row.state in (RUNS, MAY_RUN):
            row.seconds = expected_seconds(row.stage, runs)
            if run and run.outcome != "done" and not run.alive:
                row.failed = run.ending
        if row.state == RUNS and row.stage.startswith(TRAINING) and not row.waits:
            trainings_of = [item for item in missing if item.name.rpartition("-")[0] == row.stage]
            row.lacks = [training.seed for training in trainings_of]
            times = [expected_seconds(training.name, runs) for training in trainings_of]
            row.seconds = None if None in times else sum(filter(None, times))
        if run and run.alive and row.state != DONE:
            row.state = RUNNING
            row.why = [run.progress]


def show(rows: list[Row], *, graph: dict[str, Any], study: Study) -> None:
    """Print a table of stages × arms in the order of params.yaml, and the stages that belong to no arm.

    graph: `stages` of dvc.yaml
    """
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False)
    cells = {place(row.stage, graph): cell(row) for row in rows}
    arms = [arm for arm in study.arms if any(arm == column for column, _ in cells)]
    items = ["", *dict(study.probes), *study.analyses]
    parts = {name: name.partition(" ") for _, name in cells}
    names = sorted(parts, key=lambda name: ([*graph].index(parts[name][0]), items.index(parts[name][2])))
    of_arms = Table("", *arms, box=None, pad_edge=False)
    of_none = Table("", "", box=None, show_header=False, pad_edge=False)
    for name in names:
        if (None, name) in cells:
            of_none.add_row(name, cells[None, name])
        else:
            of_arms.add_row(name, *(cells.get((arm, name), "") for arm in arms))
    console.print(of_arms, of_none, "", sep="\n", end="")


def place(stage: str, graph: dict[str, Any]) -> tuple[str | None, str]:
    """Return the arm of a stage, if it has one, and its name without the arm: probe@cl-knn is `probe knn`."""
    name, _, chosen = stage.partition("@")
    axes = ["arm"] if "foreach" in graph.get(name, {}) else list(graph.get(name, {}).get("matrix", {}))
    values = dict(zip(axes, chosen.split("-"), strict=False))  # no name in params.yaml has a hyphen
    return values.pop("arm", None), " ".join([name, *values.values()])


def cell(row: Row) -> Text:
    """Return the state of a stage with its expected time."""
    word, style = (row.failed.partition(",")[0], "bold red") if row.failed else (row.state, STYLES[row.state])
    return Text(word if row.seconds is None else f"{word}, {spoken(row.seconds)}", style=style)


def reports(rows: list[Row], runs: list[Run]) -> list[str]:
    """Return lines about running stages and single trainings, and about failed last runs."""
    latest = {run.stage: run for run in runs}
    single = [run for name, run in latest.items() if run.alive and name not in {row.stage for row in rows}]
    missing = {f"{row.stage}-{seed}" for row in rows for seed in row.lacks or []}
    ended = [run for name, run in latest.items() if name in missing and not run.alive]
    lines = [f"{row.stage}: {row.why[0]}" for row in rows if row.state == RUNNING]
    lines += [f"{run.stage}: {run.progress}" for run in single]
    lines += [f"{run.stage}: {run.ending}" for run in ended if run.outcome != "done"]
    return lines + [f"{row.stage}: {row.failed}" for row in rows if row.failed]


def reasons(rows: list[Row]) -> list[str]:
    """Return a line per reason, with the stages it affects."""
    stages: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for why in row.why if row.state != RUNNING else []:
            stages.setdefault((why, row.state), []).append(row.stage)
    lines = []
    for (why, state), affected in stages.items():
        names = list(dict.fromkeys(affected))  # dvc.yaml may list a file of a stage twice
        subject = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} stages"
        lines.append(f"{why}: {subject} {VERBS[state]}")
    rest = f"and {len(lines) - MOST_REASONS} more reasons: `.venv/bin/python -m stages.tools.status --json`"
    return lines if len(lines) <= MOST_REASONS else [*lines[:MOST_REASONS], rest]


def trainings(rows: list[Row]) -> list[str]:
    """Return a line with the known trainings that the store lacks."""
    parts = [f"{row.stage} seeds {', '.join(map(str, row.lacks))}" for row in rows if row.lacks]
    return [f"Missing trainings: {'; '.join(parts)}."] if parts else []


def summary(rows: list[Row]) -> str:
    """Return the number of stages in each state, with the total expected time."""
    if all(row.state == DONE for row in rows):
        return f"All {len(rows)} stages are done; `make study` runs nothing."
    parts = []
    for state, words in {RUNNING: "running", RUNS: "to run", MAY_RUN: "may run", CACHED: "cached"}.items():
        times = [row.seconds for row in rows if row.state == state]
        timed = [f"about {spoken(total)}"] if (total := sum(filter(None, times))) else []
        untimed = [f"{times.count(None)} of unknown time"] if None in times and state != CACHED else []
        if times:
            parts.append(", ".join(filter(None, [f"{len(times)} {words}", " and ".join(timed + untimed)])))
    return f"Of {len(rows)} stages: {'; '.join(parts)}. Times add up all stages on one core."


if __name__ == "__main__":
    main()
