"""What is done and what `dvc repro` would run, and why, arms × stages: `python -m stages.tools.status`.

`dvc status` and `dvc repro --dry` look at one stage at a time: they list those that changed themselves, not
those that follow them. Here the graph is walked as `dvc repro` does, with what can be known beforehand:

- done: nothing of it changed.
- runs: something of its own changed, so it is not skipped, whatever comes before it.
- cached: the same, but DVC has run it with just these inputs before and takes the results from its cache.
- may run: it reads what a stage that runs will write, and runs only if that comes out with other bytes.

Nothing is locked and nothing waits, so it works beside a `dvc repro`, of whose stages it says that they run.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import networkx
import psutil
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile.build import build
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages.study.command import exit_with
from stages.study.documents import read_text
from stages.study.errors import StudyError
from stages.study.params import load_params, read_yaml
from stages.study.timings import Run, expected_seconds, read_runs, spoken
from stages.tools.repro import simulated, slots_of, tasks_of
from stages.tracking.lockfile import flat

DONE, RUNS, CACHED, MAY_RUN, RUNNING = "done", "runs", "cached", "may run", "running"
CHECK = "check"  # a stage that writes the same whenever it runs, so that none may run because of it
UNSETTLED = (RUNS, MAY_RUN, RUNNING)  # nobody knows yet what these will write
STYLES = {DONE: "green", RUNS: "bold yellow", CACHED: "cyan", MAY_RUN: "yellow", RUNNING: "bold blue"}
MOST_REASONS, MOST_NAMES = 12, 6  # that are shown
Contents = dict[str, HashInfo]  # what will lie at a path, of all that DVC takes from its cache


@dataclass
class Row:
    """One stage: what becomes of it, why, how long that should take, and how its last run failed."""

    stage: str
    state: str
    why: list[str] = field(default_factory=list)
    seconds: float | None = None  # None: not known, since nothing like it was ever run here
    failed: str = ""
    needs: list[str] = field(default_factory=list)  # the stages whose outs it reads


def main() -> None:
    """Read the command line and tell."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.status", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="for programs: every stage with its reasons")
    as_json = parser.parse_args().json
    exit_with("status", lambda: status(as_json=as_json))


def status(*, as_json: bool = False) -> str:
    """Every stage of the study and the time that is left, as a table or as JSON.

    Raises StudyError if params.yaml is not valid or there is no DVC project.
    """
    params = load_params()
    if Path("dvc.lock").is_file():
        read_text(Path("dvc.lock"))  # DVC would only say that its structure is corrupted
    rows = with_timings(patiently(rows_of), read_runs())
    at_once = 1
    if any(row.seconds for row in rows):  # else there is nothing to add up
        at_once = len(slots_of(params.runtime, arms=len(params.arms)))
    if as_json:
        study = study_seconds(rows, at_once=at_once) | {"at_once": at_once}
        stages = [asdict(row) for row in rows]
        return json.dumps({"stages": stages, "seconds": times(rows), "study": study}, indent=2)
    show(rows, graph=read_yaml(Path("dvc.yaml"))["stages"], at_once=at_once)
    return ""


def patiently(look: Callable[[], list[Row]]) -> list[Row]:
    """Look again if DVC was writing dvc.lock just then, which it does not do in one piece.

    Raises StudyError saying what DVC stumbles over.
    """
    for wait in (0.2, 0.5, 1.0):
        with suppress(DvcException):
            return look()
        time.sleep(wait)
    try:
        return look()
    except DvcException as error:
        raise StudyError(f"{error}".partition("\n")[0]) from None


def rows_of() -> list[Row]:
    """Every stage, those that are needed before those that need them, without times."""
    with Repo() as repo:
        graph = repo.index.graph  # edges lead from a stage to what it needs
        busy = written_now(Path(repo.tmp_dir) / "rwlock")
        rows: dict[PipelineStage, Row] = {}
        contents: Contents = {}
        for stage in reversed(list(networkx.lexicographical_topological_sort(graph, key=address))):
            unsettled = [
                maker
                for maker in graph.successors(stage)
                if rows[maker].state in UNSETTLED and address(maker) != CHECK
            ]
            row = rows[stage] = Row(address(stage), DONE)
            row.needs = sorted(map(address, graph.successors(stage)))
            row.why = changes(stage, contents=contents, unsettled=unsettled)
            if row.why:
                row.state = RUNS
                if not unsettled and (restored := from_cache(stage, contents=contents)):
                    row.state = CACHED
                    contents |= restored
            elif unsettled:
                row.state, row.why = MAY_RUN, origins(stage, graph=graph, rows=rows)
            if row.state != DONE and stage.outs and all(out.fs_path in busy for out in stage.outs):
                row.state = RUNNING
        return list(rows.values())


def address(stage: PipelineStage) -> str:
    """A stage as DVC addresses it from the root of the project."""
    return getattr(stage, "name", None) or stage.addressing


def origins(stage: PipelineStage, *, graph: networkx.DiGraph, rows: dict[PipelineStage, Row]) -> list[str]:
    """Why a stage may run: the stages somewhere before it that do."""
    before = [maker for maker in rows if maker in networkx.descendants(graph, stage)]
    words = {RUNS: "would run", RUNNING: "is running"}
    return [
        f"{address(maker)} {words[rows[maker].state]}"
        for maker in before
        if rows[maker].state in words and address(maker) != CHECK
    ]


def changes(stage: PipelineStage, *, contents: Contents, unsettled: Iterable[PipelineStage]) -> list[str]:
    """What of a stage itself is not as dvc.lock has it, in words.

    contents:  what will lie at some paths by the time that it is its turn
    unsettled: stages before it of whose outs nobody knows; what it reads of them is left out
    """
    if not any(dep.hash_info for dep in stage.deps):
        return ["never run"]
    unknown = [out.fs_path for maker in unsettled for out in maker.outs]
    found = ["its command changed"] if stage.changed_stage() else []
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            found += changed_values(dep)
        elif any(overlap(dep.fs_path, path) for path in unknown):
            continue
        elif not dep.hash_info:
            found.append(f"{dep.def_path} is new to it")
        elif (now := content(dep, contents=contents)) != dep.hash_info:
            found.append(f"{dep.def_path} {'changed' if now else 'is missing'}")
    return found + [f"{out.def_path} {word}" for out in stage.outs if (word := lost(out))]


def changed_values(dep: ParamsDependency) -> list[str]:
    """The parameters of a stage that are not what it ran with, as in `arms.hybrid.cl_weight 0.2 → 0.5`."""
    before, now = dep.hash_info.value or {}, dep.read_params()
    found = []
    for name in [
        name for name in dep.params if (before.get(name), name in before) != (now.get(name), name in now)
    ]:
        was, is_ = (flat({name: values[name]}) if name in values else {} for values in (before, now))
        words = [f"{key} {shown(value)} removed" for key, value in was.items() if key not in is_]
        words += [f"{key} {shown(value)} added" for key, value in is_.items() if key not in was]
        words += [
            f"{key} {shown(was[key])} → {shown(is_[key])}"
            for key in was
            if was[key] != is_.get(key, was[key])
        ]
        found += words or [f"{name} changed"]
    return found


def shown(value: Any) -> str:
    """A value as in params.yaml, cut short if it is long."""
    text = json.dumps(value, ensure_ascii=False)
    text = text[1:-1] if isinstance(value, str) else text
    return text if len(text) <= 40 else f"{text[:37]}..."


def lost(out: Output) -> str:
    """What is wrong with an out, or nothing."""
    words = {"deleted": "is missing", "modified": "is not what it wrote", "new": "is new to it"}
    try:
        found = out.status()
    except FileNotFoundError:  # it went while it was read
        return "is missing"
    return next((words.get(word, f"is {word}") for word in found.values()), "")


def content(dep: Output, *, contents: Contents) -> HashInfo | None:
    """What a stage will find where it reads, as DVC names contents; None if there is nothing.

    contents: of what DVC takes from its cache before; the rest is what lies there now
    """
    within = {path: info for path, info in contents.items() if overlap(path, dep.fs_path)}
    try:
        if dep.fs_path in within:
            return within[dep.fs_path]
        if not within:
            return dep.get_hash() if dep.exists else None
        path, info = next(iter(within.items()))
        if dep.fs_path.startswith(path + os.sep):  # part of an out, such as data/prepared/manifest.json
            parts = Path(dep.fs_path).relative_to(path).parts
            return dict(Tree.load(dep.repo.cache.local, info).iteritems())[parts][1]
        return joined(dep, within)
    except (FileNotFoundError, KeyError, TypeError):
        return None


def joined(dep: Output, within: Contents) -> HashInfo:
    """The content of a folder in which some outs will be others than now."""
    cache = dep.repo.cache.local
    tree = Tree()
    replaced = {Path(path).relative_to(dep.fs_path).parts: info for path, info in within.items()}
    if dep.exists:
        _, _, now = build(cache, dep.fs_path, dep.fs, "md5", ignore=dep.dvcignore, dry_run=True)
        for key, meta, info in cast(Tree, now):
            if not any(key[: len(parts)] == parts for parts in replaced):
                tree.add(key, meta, info)
    for parts, info in replaced.items():
        entries = Tree.load(cache, info) if info.isdir else [((), Meta(), info)]
        for key, meta, entry in entries:
            tree.add((*parts, *key), meta, entry)
    tree.digest()
    return tree.hash_info


def from_cache(stage: PipelineStage, *, contents: Contents) -> Contents | None:
    """The outs that DVC would take from its cache instead of running the stage, or None if it has none.

    The stage is filled with what it will read, in memory alone.
    """
    if not stage.outs or any(out.persist for out in stage.outs):  # DVC keeps no runs of such stages
        return None
    cache = stage.repo.stage_cache
    same = not stage.changed_stage()
    for dep in stage.deps:
        before = dep.hash_info
        if isinstance(dep, ParamsDependency):
            if set(dep.params) - set(dep.read_params()):
                return None
            dep.save()
        else:
            dep.hash_info = content(dep, contents=contents)
            if not dep.hash_info:
                return None
            dep.meta = Meta(isexec=dep.meta.isexec)  # it names the content too
        same &= dep.hash_info == before
    try:
        # As DVC's own `restore` does, which tells nobody what it found.
        whole = same and all(out.hash_info for out in stage.outs)
        entry = to_single_stage_lockfile(stage) if whole else cache._load(stage)
        kept = cache._create_stage(entry, wdir=stage.wdir) if entry else None
    except FileNotFoundError:  # DVC names the contents of what is there, and it is not there yet
        return None
    if kept is None or not kept.outs_cached():
        return None
    return {out.fs_path: out.hash_info for out in kept.outs}


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    return one == other or one.startswith(other + os.sep) or other.startswith(one + os.sep)


def written_now(rwlock: Path) -> set[str]:
    """The outs that DVC processes have in hand; of those that were killed, DVC's file still tells."""
    try:
        holders = json.loads(rwlock.read_text(encoding="utf-8")).get("write", {})
    except (OSError, ValueError):  # not there, or DVC was writing it
        return set()
    return {path for path, holder in holders.items() if is_dvc(holder["pid"])}


def is_dvc(process: int) -> bool:
    """Whether a process is there and is DVC, not a later one with the same number."""
    with suppress(psutil.Error):
        return any("dvc" in word for word in psutil.Process(process).cmdline())
    return False


def with_timings(rows: list[Row], runs: list[Run]) -> list[Row]:
    """The rows with how long each should take, which of them run now, and how the last run of each ended."""
    latest = {run.stage: run for run in runs}
    for row in rows:
        run = latest.get(row.stage)
        if run and run.alive and row.state != DONE:
            row.state = RUNNING
        if row.state in UNSETTLED:
            row.seconds = 1.0 if row.stage == CHECK else expected_seconds(row.stage, runs)
        if row.state == RUNNING and run and run.alive:
            elapsed = time.time() - run.began
            row.why = [", ".join(filter(None, [f"running for {spoken(elapsed)}", run.saved]))]
            row.seconds = None if row.seconds is None else max(0.0, row.seconds - elapsed)
        elif row.state in (RUNS, MAY_RUN) and run and run.outcome != "done":
            row.failed = ", ".join(filter(None, [run.outcome or "killed", run.said, run.saved]))
    return rows


def times(rows: list[Row]) -> dict[str, dict[str, float]]:
    """For each state that takes time: how many stages, their seconds, and how many are of unknown time."""
    found = {}
    for state in UNSETTLED:
        known = [row.seconds for row in rows if row.state == state]
        found[state] = {
            "stages": len(known),
            "seconds": sum(seconds for seconds in known if seconds is not None),
            "unknown": known.count(None),
        }
    return found


def study_seconds(rows: list[Row], *, at_once: int) -> dict[str, float]:
    """How long `make study` should take from now on, as it starts what is left; unknown times count nothing.

    at_once: tasks at the same time
    returns: "least", and "most" if all that may run does
    """
    graph: networkx.DiGraph = networkx.DiGraph()
    graph.add_nodes_from(row.stage for row in rows)
    graph.add_edges_from((row.stage, need) for row in rows for need in row.needs)
    tasks = tasks_of(graph)
    left = {row.stage for row in rows if row.state != DONE}
    tasks.remove_nodes_from([task for task in tasks if not left & set(task.stages)])
    begun = {row.stage for row in rows if row.state == RUNNING}
    return {
        name: simulated(
            tasks,
            seconds={row.stage: row.seconds or 0.0 for row in rows if row.state in states},
            at_once=at_once,
            begun=begun,
        )
        for name, states in (("least", (RUNNING, RUNS)), ("most", UNSETTLED))
    }


def show(rows: list[Row], *, graph: dict[str, Any], at_once: int) -> None:
    """Print the table of arms × stages, the stages of no arm, the reasons and the time that it takes.

    graph:   `stages` of dvc.yaml
    at_once: how many tasks `make study` runs at the same time
    """
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False)
    places = {row.stage: place(row.stage, graph) for row in rows}
    arms = list(dict.fromkeys(arm for arm, _ in places.values() if arm))
    cells = {places[row.stage]: cell(row) for row in rows}
    every = {name: None for _, name in places.values()}
    names = sorted(every, key=lambda name: [*graph, name.split()[0]].index(name.split()[0]))
    of_arms = Table("", *arms, box=None, pad_edge=False)
    of_none = Table("", "", box=None, show_header=False, pad_edge=False)
    for name in names:
        if (None, name) in cells:
            of_none.add_row(name, cells[None, name])
        else:
            of_arms.add_row(name, *(cells.get((arm, name), "") for arm in arms))
    console.print(of_arms)
    console.print(of_none)
    console.print()
    for line in [*reports(rows), *reasons(rows), summary(rows), *outlook(rows, at_once=at_once)]:
        console.print(Text(line), soft_wrap=True)


def place(stage: str, graph: dict[str, Any]) -> tuple[str | None, str]:
    """The arm of a stage, if it is of one, and what it is called beside its arm: probe knn of probe@cl-knn.

    graph: `stages` of dvc.yaml
    """
    name, _, chosen = stage.partition("@")
    axes = ["arm"] if "foreach" in graph.get(name, {}) else list(graph.get(name, {}).get("matrix", {}))
    values = dict(zip(axes, chosen.split("-"), strict=False))  # no name in params.yaml has a hyphen
    arm = values.pop("arm", None)
    return arm, " ".join([name, *values.values()])


def cell(row: Row) -> Text:
    """A stage in a word or two, with its time."""
    word, style = (row.failed.partition(",")[0], "bold red") if row.failed else (row.state, STYLES[row.state])
    known = row.seconds is not None and row.state in UNSETTLED
    left = " left" if row.state == RUNNING else ""
    return Text(f"{word}, {spoken(row.seconds or 0)}{left}" if known else word, style=style)


def reports(rows: list[Row]) -> list[str]:
    """What runs now, and how the last runs ended that did not end well."""
    running = [f"{row.stage}: {row.why[0]}" for row in rows if row.state == RUNNING]
    return running + [f"{row.stage}: {row.failed}" for row in rows if row.failed]


def reasons(rows: list[Row]) -> list[str]:
    """Each reason there is, and the stages that it makes run."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for why in row.why if row.state != RUNNING else []:
            found.setdefault((why, row.state), []).append(row.stage)
    lines = [f"{why}: {several(stages, state)}" for (why, state), stages in found.items()]
    more = len(lines) - MOST_REASONS
    return lines if more <= 0 else [*lines[:MOST_REASONS], f"and {more} more reasons, see --json"]


def several(stages: list[str], state: str) -> str:
    """Stages by name, or their number if they are many, and what becomes of them."""
    verb = {RUNS: "run", CACHED: "come from the cache", MAY_RUN: "may run"}[state]
    if len(stages) > MOST_NAMES:
        return f"{len(stages)} stages {verb}"
    return f"{', '.join(stages)} {'runs' if state == RUNS and len(stages) == 1 else verb}"


def summary(rows: list[Row]) -> str:
    """How many stages run, and how long that takes."""
    if all(row.state == DONE for row in rows):
        return f"All {len(rows)} stages are done; `dvc repro` runs nothing."
    parts = []
    for state, words in ((RUNNING, "running"), (RUNS, "to run"), (MAY_RUN, "that may run")):
        time_of = times(rows)[state]
        if time_of["stages"]:
            unknown = time_of["unknown"]
            known = f"about {spoken(time_of['seconds'])}" if time_of["stages"] > unknown else ""
            told = " and ".join(filter(None, [known, f"{unknown} of unknown time" if unknown else ""]))
            parts.append(f"{time_of['stages']} {words}, {told}")
    cached = sum(row.state == CACHED for row in rows)
    parts += [f"{cached} from the cache"] if cached else []
    return f"Of {len(rows)} stages: {'; '.join(parts)}."


def outlook(rows: list[Row], *, at_once: int) -> list[str]:
    """How long `make study` should take, in a sentence; nothing if no time is known."""
    time_of = study_seconds(rows, at_once=at_once)
    least, most = spoken(time_of["least"]), spoken(time_of["most"])
    if not time_of["most"]:
        return []
    way = f"`make study`, {at_once} arms at a time" if at_once > 1 else "`make study`"
    return [f"{way}: about {least}{f', {most} with all that may run' if most != least else ''}."]


if __name__ == "__main__":
    main()
