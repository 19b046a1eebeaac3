"""Mirror the results of the study into MLflow: `python -m stages.track`, as often as you like.

A run is one result. Each DVC stage has a run, found by the hash of its entry in dvc.lock, so results that DVC
took from its cache are there like those it computed, nothing is written twice, and a stage that two states of
the study share has one run for both. Each state has a run above them, complete in itself: the headline
numbers of all arms, every parameter, the report, and links to the runs of all its stages. Nested below it are
those that came with it; the filter in its description finds the others too.

Tracking never fails a study: without a server there is one line of warning, and the next run of this command
writes what is missing. What is in MLflow can be deleted; this command makes it again from the results.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from stages.study.command import run
from stages.study.lockfile import Result, altered, digest, flat, moved_on, read_lock, stage_addresses
from stages.study.params import load_params, read_yaml
from stages.study.paths import DATA, read_json
from stages.study.timings import read_runs
from stages.study.tracking import LONGEST_TAG, MEMBER, Record, Store, connect, pending_file, put_off

MIRRORED = ("models", "results", "reports")  # what the stage `track` depends on
AXES = ["image", "block", "head", "frequency"]  # columns of an analysis that say where, not what
NOT_HEADLINE = ("low", "high", "images", "chance", "learning_rate", "by_", "p_adjusted")
DECIDED = (
    "effect",
    "low",
    "high",
    "p_adjusted",
    "d_z",
    "agree",
    "verdict",
)  # of a claim; the rest stands in its table
Measure = tuple[str, float, int]  # name, value, step


def main() -> None:
    """Mirror what MLflow has not seen."""
    run("track", track)


def track() -> str:
    """Mirror the results that dvc.lock lists for the stages of dvc.yaml.

    Raises StudyError if there are no results. Whatever else goes wrong is one line of warning.
    """
    study = load_params(stage="track")
    lock = read_lock()
    addresses = [a for a in stage_addresses(read_yaml(Path("dvc.yaml"))["stages"], study) if a != "track"]
    results = [Result(address, lock[address]) for address in addresses if address in lock]
    try:
        with connect() as store:
            message = mirror(results, store=store, unrun=[a for a in addresses if a not in lock])
    except Exception as error:
        put_off(error)
        return "left for the next `python -m stages.track`"
    pending_file().unlink(missing_ok=True)
    return message


def mirror(results: list[Result], *, store: Store, unrun: list[str]) -> str:
    """Write the missing runs: first those of the stages, then that of the state of the study if it is whole.

    unrun: stages of the study that have no result
    """
    values = read_yaml(Path("params.yaml"))
    lost = {r.address: f"did not leave this {out}" for r in results if (out := altered(r, *MIRRORED))}
    waiting = dict.fromkeys(unrun, "has not run") | lost
    waiting |= {r.address: f"ran with another {path}" for r in results if (path := moved_on(r, values))}
    results = [result for result in results if result.address not in lost]
    state = digest(sorted(result.key for result in results))
    if not waiting and store.find(state):
        return f"nothing new; all {len(results)} stages are in MLflow"

    store.sweep([state, *(result.key for result in results)])
    about = circumstances()
    rows: list[dict[str, Any]] = []
    members: dict[str, dict[str, str]] = {}  # the tags of each run, by its id
    for result in results:
        known = store.find(result.key)
        if known is None:
            record = stage_record(result, about)
            store.finish(identifier := store.start(record), record)
        else:
            identifier = known.info.run_id
        rows.append({"stage": result.address, "run": identifier, "key": result.key, "new": known is None})
        members[identifier] = known.data.tags if known else {}
    new = f"{sum(row['new'] for row in rows)} of {len(rows)} stages were new"
    if waiting:
        stage, reason = next(iter(waiting.items()))
        return f"{new}; the study waits for `dvc repro`: {stage} {reason} ({len(waiting)} in all)"
    study = study_record(results, state=state, rows=rows, about=about, experiment=store.experiment)
    parent = store.start(study)
    store.adopt(members, parent=parent, state=state[:8])
    store.finish(parent, study)
    return f"{new}; the study is {study.name}"


def stage_record(result: Result, about: dict[str, str]) -> Record:
    """The run of one stage: its own parameters, its metrics and curves, and what its outs are."""
    metrics: list[Measure] = []
    words: dict[str, Any] = {}
    for path in result.outs("models", "results"):
        numbers, texts = measures(path)
        metrics, words = metrics + numbers, words | texts
    tags = {"study.stage": result.address, "mlflow.source.name": result.entry["cmd"]}
    tags |= {f"out.{path}": f"md5 {out['md5']}" for path, out in result.outs().items()}
    timing = wall_time(result)
    seconds, finished = timing or (0.0, time.time())
    return Record(
        result.key,
        result.address,
        params=result.params | words,
        metrics=[*metrics, ("seconds", seconds, 0)] if timing else metrics,
        tags=tags | (about if timing else without_machine(about)),
        seconds=seconds,
        finished=finished,
    )


def study_record(
    results: list[Result], *, state: str, rows: list[dict[str, Any]], about: dict[str, str], experiment: str
) -> Record:
    """The run of one state of the study: what one wants to compare with another state, and the report.

    rows: stage, run, key and new of every stage
    """
    metrics: list[Measure] = []
    params: dict[str, Any] = {}
    files: list[tuple[Path, str | None]] = []
    tables = {"stages.json": rows}
    for result in results:
        params |= result.params
        for path in result.outs("results"):
            if path.is_file():
                numbers, texts = measures(path)
                arm = ".".join([path.stem, *path.parts[1:-1][-1:]])  # results/probe/knn/cl.json: cl.knn
                metrics += [(f"{arm}.{name}", v, step) for name, v, step in numbers if is_headline(name)]
                params |= {f"{arm}.{name}": text for name, text in texts.items() if name.endswith("verdict")}
                if path.name == "claims.json":
                    tables["claims.json"] = claim_rows(read_json(path))
                if path.name == "specifications.csv":
                    tables["specifications.json"] = specification_rows(path)
        for path in result.outs("reports"):
            files += [(figure, str(path.relative_to("reports"))) for figure in sorted(path.glob("**/*.png"))]
            files += [(path, None)] if path.name == "index.html" else []
    timings = [wall_time(result) for result in results]
    if all(timings):
        metrics.append(("seconds", sum(timing[0] for timing in timings if timing), 0))
    note = description(rows, state=state, experiment=experiment)
    tags = {"study.stage": "study", "mlflow.note.content": note}
    tags |= about if all(timings) else without_machine(about)
    name = os.environ.get("DVC_EXP_NAME") or f"study {state[:8]}"
    return Record(state, name, params=params, metrics=metrics, tags=tags, files=files, tables=tables)


def claim_rows(decided: dict[str, Any]) -> list[dict[str, Any]]:
    """results/claims.json as a table: a row per claim, its words and then its numbers."""
    return [flat(named(words | decided["claims"][words["name"]])) for words in decided["entries"]]


def specification_rows(path: Path) -> list[dict[str, Any]]:
    """results/specifications.csv as a table."""
    import pandas as pd

    return [dict(row) for row in pd.read_csv(path).to_dict("records")]


def measures(path: Path) -> tuple[list[Measure], dict[str, Any]]:
    """The numbers and the words of one out: metrics, the curve of a training, the blocks of an analysis."""
    if path.suffix == ".json":
        found = flat(named(read_json(path)))
        found = {name.removeprefix("labels.").removeprefix("claims."): v for name, v in found.items()}
        if path.name == "claims.json":
            found = {name: v for name, v in found.items() if name.rpartition(".")[2] in DECIDED}
        words = {name: value for name, value in found.items() if isinstance(value, str | bool)}
        return [(n, v, 0) for n, v in found.items() if isinstance(v, int | float) and n not in words], words
    import pandas as pd

    table = pd.DataFrame()
    columns = set(pd.read_csv(path, nrows=0)) if path.suffix == ".csv" else set()
    if (path / "history.csv").is_file():
        table = pd.read_csv(path / "history.csv").set_index("epoch")
    elif "block" in columns and not columns & {"predicted", "other_arm"}:
        # The accuracies of a probe are in its JSON; pairs of arms are no course of one.
        table = pd.read_csv(path)
        if "measure" in table:  # several measures, one value a row; 0: not one of a series
            table = table[table[[name for name in ("index", "row") if name in table]].eq(0).all(axis=1)]
            if "other_block" in table:  # of two blocks the neighbours only
                table = table[table["block"] - table["other_block"] <= 1]
            words = table[[name for name in ("measure", "level", "place", "variant") if name in table]]
            names = words.agg(".".join, axis=1).rename("name")
            table = table.pivot_table(index="block", columns=names, values="value")
        if "part" in table:  # of an encoder and its decoder
            table = table[table["part"] == "encoder"]
        if "frequency" in table:
            table = table[table["frequency"] == table["frequency"].max()]
        table = table.groupby("block").mean(numeric_only=True).drop(columns=AXES, errors="ignore")
    table = table.select_dtypes("number")
    return [
        (str(name), float(v), int(step)) for name in table for step, v in table[name].dropna().items()
    ], {}


def named(value: Any) -> Any:
    """The same with mappings for lists, by `name` or index; a long list of numbers is left to its file."""
    if isinstance(value, list):
        pairs = [(str(v.get("name", i)) if isinstance(v, dict) else str(i), v) for i, v in enumerate(value)]
        value = dict(pairs) if len(value) <= 16 or isinstance(value[0], dict) else {}
    return {name: named(item) for name, item in value.items()} if isinstance(value, dict) else value


def is_headline(name: str) -> bool:
    """Whether a metric belongs beside those of all other arms."""
    return not any(part.startswith(NOT_HEADLINE) for part in name.split("."))


def description(rows: list[dict[str, Any]], *, state: str, experiment: str) -> str:
    """What one reads at the top of the study's run: links to the runs of its stages."""
    links = defaultdict(list)
    for row in rows:
        stage, _, choice = row["stage"].partition("@")
        links[stage].append(f"[{choice or stage}](#/experiments/{experiment}/runs/{row['run']})")
    lines = [f"Search for all its runs: `tags.\"{MEMBER}\" LIKE '%{state[:8]}%'`", ""]
    for stage, found in links.items():
        line = f"- {stage}: {', '.join(found)}"
        if len("\n".join([*lines, line])) > LONGEST_TAG - 100:
            return "\n".join([*lines, "- more in the artifact stages.json"])
        lines.append(line)
    return "\n".join(lines)


def wall_time(result: Result) -> tuple[float, float] | None:
    """Seconds that the stage took and when it ended; None if its outs were not computed here."""
    whole = [run for run in read_runs() if run.stage == result.address and run.outcome == "done"]
    ended = whole[-1].ended if whole else None
    written = [entry for path in result.outs() for entry in (path.glob("*") if path.is_dir() else [path])]
    ages = [entry.lstat().st_mtime for entry in written if entry.exists()]
    # DVC writes outs anew when it restores them: then even the oldest is younger than the last computation.
    if ended is None or (ages and min(ages) > ended + 60):
        return None
    return whole[-1].seconds, ended


def circumstances() -> dict[str, str]:
    """Tags that all runs share: commit, experiment, data; and under `on.` what this machine computes with."""
    manifest = read_json(DATA / "manifest.json") if (DATA / "manifest.json").exists() else {}
    tags = {
        "mlflow.user": os.environ.get("USER", ""),
        "mlflow.source.git.commit": first_line("git", "rev-parse", "HEAD"),
        "dvc.exp": os.environ.get("DVC_EXP_NAME", ""),
        "data.digest": str(manifest.get("digest", "")),
        "on.machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "on.gpu": first_line("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
        "on.python": platform.python_version(),
    }
    tags |= {f"on.{name}": importlib.metadata.version(name) for name in ("torch", "timm", "dvc", "mlflow")}
    return {name: value for name, value in tags.items() if value}


def without_machine(about: dict[str, str]) -> dict[str, str]:
    """The tags of a result that was not computed here: what this machine has says nothing of it."""
    return {name: value for name, value in about.items() if not name.startswith("on.")}


def first_line(*command: str) -> str:
    """What a program says first, or nothing if it is not there or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return "" if done.returncode else done.stdout.strip().partition("\n")[0]


if __name__ == "__main__":
    main()
