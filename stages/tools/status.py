"""What is done and what `make study` would run, and why, arms × stages: `python -m stages.tools.status`.

`dvc status` and `dvc repro --dry` look at one stage at a time and list those that changed themselves, not
those that follow them. Here the graph is walked as `dvc repro` does, with what can be known beforehand:

- done: nothing of it changed.
- runs: something of its own changed, so it is not skipped; DVC may still find results in its cache if an
  earlier stage comes out as it once did.
- cached: the same, but DVC has run it with these inputs before and takes the results from its cache.
- may run: it reads what an earlier stage will write, and runs only if that comes out with other bytes.

A stage that trains and runs trains only what the store lacks, which is listed. Nothing is locked and nothing
waits, so all this works beside a running study.
"""

import argparse
import json
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
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages.study.command import exit_with
from stages.study.documents import read_yaml
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.timings import Run, expected_seconds, read_runs, spoken
from stages.tools.jobs import queue_lines
from stages.tools.project import dvc_project
from stages.tools.trainings import STAGES as TRAINING
from stages.tools.trainings import Lacking, lacking

DONE, RUNS, CACHED, MAY_RUN, RUNNING = "done", "runs", "cached", "may run", "running"
CHECK = "check"  # a stage that writes the same whenever it runs, so that none may run because of it
STYLES = {DONE: "green", RUNS: "bold yellow", CACHED: "cyan", MAY_RUN: "yellow", RUNNING: "bold blue"}
VERBS = {RUNS: "run", CACHED: "come from the cache", MAY_RUN: "may run"}
MOST_REASONS, MOST_NAMES = 12, 6  # that are shown


@dataclass
class Row:
    """One stage: what becomes of it, why, how long that should take, and how its last run failed."""

    stage: str
    state: str
    why: list[str] = field(default_factory=list)
    lacks: list[int] | None = None  # seeds whose training the store lacks; None: not known, or no training
    seconds: float | None = None  # None: not known, since nothing like it was ever run here
    failed: str = ""


def main() -> None:
    """Read the command line and print the status."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.status", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="for programs: every stage with its reasons")
    as_json = parser.parse_args().json
    exit_with("status", lambda: status(as_json=as_json))


def status(*, as_json: bool = False) -> str:
    """Return every stage as JSON, or print a table. Raises StudyError if there is no valid DVC project."""
    load_params()
    for attempt in range(4):  # DVC does not write dvc.lock in one piece
        try:
            rows = rows_of()
            break
        except StudyError:
            if attempt == 3:
                raise
            time.sleep(0.5)
    trains = any(row.stage.startswith(TRAINING) and row.state not in (DONE, MAY_RUN) for row in rows)
    complete(rows, runs=(runs := read_runs()), missing=lacking(*TRAINING) if trains else [])
    if as_json:
        return json.dumps({"stages": [asdict(row) for row in rows]}, indent=2)
    show(rows, graph=read_yaml(Path("dvc.yaml"))["stages"])
    for line in [*reports(rows, runs), *queue_lines(), *reasons(rows), *trainings(rows), summary(rows)]:
        print(line)
    return ""


def rows_of() -> list[Row]:
    """Return every stage, those that are needed before those that need them, without times."""
    rows: dict[PipelineStage, Row] = {}
    settled: set[PipelineStage] = set()  # stages whose outs will be what dvc.lock says
    with dvc_project() as repo:
        graph = repo.index.graph  # edges lead from a stage to what it needs
        for stage in reversed(
            list(networkx.lexicographical_topological_sort(graph, key=lambda stage: stage.addressing))
        ):
            needs = list(graph.successors(stage))
            later = [out.fs_path for need in needs if rows[need].state != DONE for out in need.outs]
            inputs, outs = changed_inputs(stage, later=later), changed_outs(stage)
            row = rows[stage] = Row(stage.addressing, DONE, inputs + outs)
            if row.why:
                known = settled.issuperset(needs) and in_cache(stage, same_inputs=not inputs)
                row.state = CACHED if known else RUNS
            elif not settled.issuperset(needs):
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
    """Return in words what of the inputs of a stage is not as dvc.lock has it.

    later: paths that others write before it is its turn
    """
    if not any(dep.hash_info for dep in stage.deps):
        return ["never run"]
    says = {"deleted": "is missing", "new": "is new to it", "modified": "changed"}
    words = ["its command changed"] if stage.changed_stage() else []
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            words += changed_values(dep.hash_info.value or {}, dep.read_params(), names=dep.params)
        elif not any(overlap(dep.fs_path, path) for path in later):
            words += [f"{dep.def_path} {says[word]}" for word in dep.workspace_status().values()]
    return words


def changed_outs(stage: PipelineStage) -> list[str]:
    """Return in words what of the outs of a stage is not as dvc.lock has it."""
    says = {"deleted": "is missing", "new": "is new to it", "modified": "is not what it wrote"}
    words = []
    for out in stage.outs if any(dep.hash_info for dep in stage.deps) else []:
        with suppress(FileNotFoundError):  # it went while it was read
            words += [f"{out.def_path} {says.get(word, f'is {word}')}" for word in out.status().values()]
    return words


def changed_values(before: dict[str, Any], now: dict[str, Any], *, names: list[str]) -> list[str]:
    """Return the parameters that are not what a stage ran with, as in `arms.hybrid.cl_weight 0.2 → 0.5`.

    names: of the parameters it declares
    """
    was, is_ = ({key: v for name in names if name in values for key, v in flat(values[name], name)}
                for values in (before, now))  # fmt: skip
    words = [f"{key} {shown(was[key])} removed" for key in was if key not in is_]
    words += [f"{key} {shown(is_[key])} added" for key in is_ if key not in was]
    return words + [
        f"{key} {shown(was[key])} → {shown(is_[key])}" for key in was if was[key] != is_.get(key, was[key])
    ]


def flat(value: Any, name: str) -> list[tuple[str, Any]]:
    """Return nested mappings as dotted names with their values."""
    if isinstance(value, dict):
        return [pair for key, part in value.items() for pair in flat(part, f"{name}.{key}")]
    return [(name, value)]


def shown(value: Any) -> str:
    """Return a value as in params.yaml, cut short if it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def in_cache(stage: PipelineStage, *, same_inputs: bool) -> bool:
    """Return whether DVC would take the outs of a stage from its cache instead of running it."""
    try:
        if not same_inputs:  # look for earlier outs, not for those in dvc.lock; in memory alone
            stage.save_deps()
            for out in stage.outs:
                out.clear()
        stage.repo.stage_cache.restore(stage, dry=True)
    except (RunCacheNotFoundError, DvcException, FileNotFoundError):
        return False
    return bool(stage.outs)


def overlap(one: str, other: str) -> bool:
    """Return whether two paths are the same, or one lies in the other."""
    return one == other or one.startswith(other + os.sep) or other.startswith(one + os.sep)


def complete(rows: list[Row], *, runs: list[Run], missing: list[Lacking]) -> None:
    """Add to the rows how long each should take, which run now, how the last run ended, what they train."""
    latest = {run.stage: run for run in runs}
    for row in rows:
        run = latest.get(row.stage)
        if row.state in (RUNS, MAY_RUN):
            row.seconds = expected_seconds(row.stage, runs)
            if run and run.outcome != "done" and not run.alive:
                row.failed = run.ending
        if row.state == RUNS and row.stage.startswith(TRAINING):
            mine = [training for training in missing if training.name.rpartition("-")[0] == row.stage]
            row.lacks = [training.seed for training in mine]
            times = [expected_seconds(training.name, runs) for training in mine]
            row.seconds = None if None in times else sum(filter(None, times))
        if run and run.alive and row.state != DONE:
            row.state = RUNNING
            row.why = [", ".join(filter(None, [f"running for {spoken(time.time() - run.began)}", run.saved]))]


def show(rows: list[Row], *, graph: dict[str, Any]) -> None:
    """Print the table of arms × stages and the stages of no arm.

    graph: `stages` of dvc.yaml
    """
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False)
    cells = {place(row.stage, graph): cell(row) for row in rows}
    arms = list(dict.fromkeys(arm for arm, _ in cells if arm))
    names = sorted({name: None for _, name in cells}, key=lambda name: [*graph].index(name.split()[0]))
    of_arms = Table("", *arms, box=None, pad_edge=False)
    of_none = Table("", "", box=None, show_header=False, pad_edge=False)
    for name in names:
        if (None, name) in cells:
            of_none.add_row(name, cells[None, name])
        else:
            of_arms.add_row(name, *(cells.get((arm, name), "") for arm in arms))
    console.print(of_arms, of_none, "", sep="\n", end="")


def place(stage: str, graph: dict[str, Any]) -> tuple[str | None, str]:
    """Return the arm of a stage, if it has one, and its name beside the arm: probe knn of probe@cl-knn."""
    name, _, chosen = stage.partition("@")
    axes = ["arm"] if "foreach" in graph.get(name, {}) else list(graph.get(name, {}).get("matrix", {}))
    values = dict(zip(axes, chosen.split("-"), strict=False))  # no name in params.yaml has a hyphen
    arm = values.pop("arm", None)
    return arm, " ".join([name, *values.values()])


def cell(row: Row) -> Text:
    """Return a stage in a word or two, with its time."""
    word, style = (row.failed.partition(",")[0], "bold red") if row.failed else (row.state, STYLES[row.state])
    return Text(word if row.seconds is None else f"{word}, {spoken(row.seconds)}", style=style)


def reports(rows: list[Row], runs: list[Run]) -> list[str]:
    """Return what runs now, single trainings too, and how the last runs ended that did not end well."""
    latest = {run.stage: run for run in runs}
    names = {row.stage for row in rows}
    single = [run for name, run in latest.items() if run.alive and name not in names]
    missing = {f"{row.stage}-{seed}" for row in rows for seed in row.lacks or []}
    ended = [run for name, run in latest.items() if name in missing and not run.alive]
    lines = [f"{row.stage}: {row.why[0]}" for row in rows if row.state == RUNNING]
    lines += [f"{run.stage}: running for {spoken(time.time() - run.began)} {run.saved}" for run in single]
    lines += [f"{run.stage}: {run.ending}" for run in ended if run.outcome != "done"]
    return lines + [f"{row.stage}: {row.failed}" for row in rows if row.failed]


def reasons(rows: list[Row]) -> list[str]:
    """Return each reason there is, with the stages that it makes run."""
    stages: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for why in row.why if row.state != RUNNING else []:
            stages.setdefault((why, row.state), []).append(row.stage)
    lines = []
    for (why, state), names in stages.items():
        subject = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} stages"
        lines.append(f"{why}: {subject} {VERBS[state]}")
    more = len(lines) - MOST_REASONS
    return lines if more <= 0 else [*lines[:MOST_REASONS], f"and {more} more reasons, see --json"]


def trainings(rows: list[Row]) -> list[str]:
    """Return a line with the trainings that the store lacks, as far as that is known."""
    parts = [f"{row.stage} seeds {', '.join(map(str, row.lacks))}" for row in rows if row.lacks]
    return [f"Trainings that the store lacks: {'; '.join(parts)}."] if parts else []


def summary(rows: list[Row]) -> str:
    """Return how many stages run, and how long that takes one after the other."""
    if all(row.state == DONE for row in rows):
        return f"All {len(rows)} stages are done; `make study` runs nothing."
    parts = []
    words_of = {RUNNING: "running", RUNS: "to run", MAY_RUN: "that may run", CACHED: "cached"}
    for state, words in words_of.items():
        times = [row.seconds for row in rows if row.state == state]
        known = [f"about {spoken(total)}"] if (total := sum(filter(None, times))) else []
        unknown = [f"{times.count(None)} of unknown time"] if None in times and state != CACHED else []
        parts += (
            [", ".join([f"{len(times)} {words}", " and ".join(known + unknown)]).rstrip(", ")]
            if times
            else []
        )
    return f"Of {len(rows)} stages: {'; '.join(parts)}. Times are of one core and one stage after the other."


if __name__ == "__main__":
    main()
