"""Mirror the results of the study into MLflow: `python -m stages.track`, as often as you like.

A run is one result. Each DVC stage has a run, found by the hash of its entry in dvc.lock, so results that DVC
took from its cache are there like those it computed, nothing is written twice, and a stage that two states of
the study share has one run for both. Above the stages of an arm is a run of the arm, whose metrics and
parameters are named as those of every other arm, so that arms can be compared. Each state of the study has a
run above all, complete in itself: the headline numbers of all arms, every parameter, the report, and links to
the rest. Nested below a run are those that came with it; the filter in the description of the study's run
finds the others too.

Tracking never fails a study: without a server there is one line of warning, and the next run of this command
writes what is missing. What is in MLflow can be deleted; this command makes it again from the results.
"""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from stages.results.files import read_table
from stages.results.schemas import SPECIFICATIONS
from stages.study.command import run
from stages.study.params import load_params, read_yaml
from stages.study.paths import DATA, model_dir, read_json
from stages.study.recipe import recipe_of
from stages.study.settings import Runtime
from stages.study.study import Study
from stages.study.timings import Run, read_runs
from stages.tracking.lockfile import (
    UNMIRRORED,
    Result,
    altered,
    digest,
    flat,
    moved_on,
    read_lock,
    stage_addresses,
)
from stages.tracking.measures import Measure, Told, is_headline, measures
from stages.tracking.store import LONGEST_TAG, MEMBER, Images, Record, Store, connect, pending_file, put_off

TRAINING = "workflowType=machine_learning"  # MLflow's pages have other menus for language models
# Of a claim, in the order of the table.
CLAIM = (
    *("name", "section", "statement", "verdict", "effect", "low", "high", "unit", "d_z", "p_adjusted"),
    *("specifications.agree", "statistic", "comparison", "why"),
)
MIRRORED = ("models", "results", "reports")  # what the stage `track` depends on


@dataclass(frozen=True)
class Context:
    """What the runs of one call share: what each out says, the tags of all and the images."""

    told: dict[Path, Told]
    about: dict[str, str]
    images: Images | None


def main() -> None:
    """Mirror what MLflow has not seen."""
    run("track", track)


def track() -> str:
    """Mirror the results that dvc.lock lists for the stages of dvc.yaml.

    Raises StudyError if there are no results. Whatever else goes wrong is one line of warning.
    """
    study = load_params(stage="track")
    lock = read_lock()
    graph = read_yaml(Path("dvc.yaml"))["stages"]
    addresses = [a for a in stage_addresses(graph, study) if a not in UNMIRRORED]
    results = [Result(address, lock[address]) for address in addresses if address in lock]
    try:
        with connect() as store:
            message = mirror(results, study=study, store=store, unrun=[a for a in addresses if a not in lock])
    except Exception as error:
        put_off(error)
        return "left for the next `python -m stages.track`"
    pending_file().unlink(missing_ok=True)
    return message


def mirror(results: list[Result], *, study: Study, store: Store, unrun: list[str]) -> str:
    """Write the missing runs: those of the stages and, if the study is whole, of its arms and its state.

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

    arms = {arm: own for arm in study.arms if (own := [r for r in results if r.arm == arm])}
    keys = {arm: digest(["arm", *sorted(result.key for result in own)]) for arm, own in arms.items()}
    store.sweep([state, *keys.values(), *(result.key for result in results)])
    told = {path: measures(path) for result in results for path in result.outs("models", "results")}
    context = Context(told, circumstances(), image_set())
    rows: list[dict[str, Any]] = []
    members: dict[str, dict[str, str]] = {}  # the tags of each run, by its id
    for result in results:
        known = store.find(result.key)
        if known is None:
            record = stage_record(result, context)
            store.finish(identifier := store.start(record), record)
        else:
            identifier = known.info.run_id
        rows.append({"stage": result.address, "run": identifier, "key": result.key, "new": known is None})
        members[identifier] = known.data.tags if known else {}
    new = f"{sum(row['new'] for row in rows)} of {len(rows)} stages were new"
    if waiting:
        stage, reason = next(iter(waiting.items()))
        return f"{new}; the study waits for `dvc repro`: {stage} {reason} ({len(waiting)} in all)"

    of_stage = {row["stage"]: row["run"] for row in rows}
    of_arm: dict[str, str] = {}
    for arm, own in arms.items():
        below = {run: members.pop(run) for run in (of_stage[result.address] for result in own)}
        known = store.find(keys[arm])
        record = arm_record(own, arm=arm, key=keys[arm], study=study, context=context)
        of_arm[arm] = known.info.run_id if known else store.start(record)
        store.adopt(below, parent=of_arm[arm], state=state[:8])
        if known is None:
            store.finish(of_arm[arm], record)
        members[of_arm[arm]] = known.data.tags if known else {}
    note = description(rows, of_arm, state=state, experiment=store.experiment)
    whole = study_record(results, state=state, rows=rows, note=note, context=context)
    parent = store.start(whole)
    store.adopt(members, parent=parent, state=state[:8])
    store.finish(parent, whole)
    return f"{new}; the study is {whole.name}"


def stage_record(result: Result, context: Context) -> Record:
    """The run of one stage: its own parameters, its metrics and curves, and what its outs are."""
    metrics: list[Measure] = []
    words: dict[str, Any] = {}
    for path in result.outs("models", "results"):
        numbers, texts = context.told[path]
        metrics, words = metrics + numbers, words | texts
    tags = {"study.stage": result.address, "study.kind": "stage", "mlflow.source.name": result.entry["cmd"]}
    tags |= {"study.arm": result.arm} if result.arm else {}
    tags |= {f"out.{path}": f"md5 {out['md5']}" for path, out in result.outs().items()}
    computed = computation(result)
    return Record(
        result.key,
        result.address,
        params=result.params | words,
        metrics=metrics + duration([computed]),
        tags=tags | machine([computed], context.about),
        images=context.images if DATA in result.deps else None,
        seconds=computed.seconds if computed else 0.0,
        finished=(computed.ended if computed else None) or time.time(),
    )


def arm_record(
    results: list[Result],
    *,
    arm: str,
    key: str,
    study: Study,
    context: Context,
) -> Record:
    """The run of one arm: its recipe and all that was measured of it, named as in every other arm.

    Metrics are courses, so what MLflow lists of them is the last epoch of a training and the last block of
    an analysis.
    results: those of the stages of this arm
    """
    metrics: list[Measure] = []
    params: dict[str, Any] = {}
    for result in results:
        params |= result.params
        for path in result.outs("models", "results"):
            kind = "pretrain" if path.parts[0] == "models" else path.parts[-2]  # results/probe/knn/cl.json
            numbers, _ = context.told[path]
            metrics += [(f"{kind}.{name}", v, step) for name, v, step in numbers if is_headline(name)]
    computed = [computation(result) for result in results]
    tags = {"study.stage": f"arm@{arm}", "study.kind": "arm", "study.arm": arm}
    return Record(
        key,
        arm,
        params=recipe(params, arm=arm, study=study, folder=model_dir(arm)),
        metrics=metrics + duration(computed),
        tags=tags | machine(computed, context.about),
        images=context.images,
    )


def recipe(params: dict[str, Any], *, arm: str, study: Study, folder: Path) -> dict[str, Any]:
    """The parameters of an arm's stages with what the arm overrides in its place, named as in every arm.

    params: dotted, as dvc.lock has them
    folder: where its encoder lies
    """
    own = study.arms[arm].model_dump(
        include={"objective", "cl_weight", "mim_block", "stop_epoch", "weights", "format"}
    )
    _, pretrain, seed = recipe_of(study, arm)
    vit = read_json(folder / "encoder.json")["vit"]  # that of an imported arm is nowhere else
    shared = {name: value for name, value in params.items() if not name.startswith("arms.")}
    found = shared | own | flat({"seed": seed, "vit": vit, "pretrain": pretrain.model_dump()})
    if own["objective"] == "imported":  # trained elsewhere, by a recipe of its own
        found = {n: v for n, v in found.items() if not n.startswith(("pretrain.", "objectives."))}
    return found


def study_record(
    results: list[Result],
    *,
    state: str,
    rows: list[dict[str, Any]],
    note: str,
    context: Context,
) -> Record:
    """The run of one state of the study: what one wants to compare with another state, and the report.

    rows: stage, run, key and new of every stage
    note: what one reads at its top
    """
    metrics: list[Measure] = []
    params: dict[str, Any] = {}
    files: list[tuple[Path, str | None]] = []
    tables = {"stages.json": rows}
    for result in results:
        params |= result.params
        for path in result.outs("results"):
            if path.is_file():
                numbers, texts = context.told[path]
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
    computed = [computation(result) for result in results]
    tags = {"study.stage": "study", "study.kind": "study", "mlflow.note.content": note}
    tags |= machine(computed, context.about)
    name = os.environ.get("DVC_EXP_NAME") or f"study {state[:8]}"
    return Record(
        state,
        name,
        params=params,
        metrics=metrics + duration(computed),
        tags=tags,
        files=files,
        tables=tables,
        images=context.images,
    )


def claim_rows(decided: dict[str, Any]) -> list[dict[str, Any]]:
    """results/claims.json as a table, a row per claim; what varies between claims is left to the file.

    MLflow shows the cells of a column empty if there is a point in its name.
    """
    rows = [flat(words | decided["claims"][words["name"]]) for words in decided["entries"]]
    return [{name.replace(".", " "): row.get(name) for name in CLAIM} for row in rows]


def specification_rows(path: Path) -> list[dict[str, Any]]:
    """results/specifications.csv as a table."""
    table = read_table(path, SPECIFICATIONS, stage="decide")
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def description(rows: list[dict[str, Any]], arms: dict[str, str], *, state: str, experiment: str) -> str:
    """What one reads at the top of the study's run: links to all arms at once and to every run.

    arms: id of the run of each
    """
    of_state = f"tags.\"{MEMBER}\" LIKE '%{state[:8]}%'"
    side_by_side = quote(json.dumps(list(arms.values()), separators=(",", ":")))
    # Sorted by anything but the time, MLflow lists nested runs without those above them, and draws them.
    charts = (
        quote(f"tags.\"study.kind\" = 'arm' and {of_state}")
        + "&orderByKey=tags.%60study.arm%60&orderByAsc=true"
    )
    runs = f"#/experiments/{experiment}/runs"
    lines = [
        f"All arms [in charts]({runs}?searchFilter={charts}&compareRunsMode=CHART&{TRAINING}), "
        f"[as parallel coordinates](#/compare-runs?runs={side_by_side}&experiments=%5B%22{experiment}%22%5D)",
        "",
        f"Search for all its runs: `{of_state}`",
        "",
    ]
    links = defaultdict(list)
    links["arm"] = [f"[{arm}]({runs}/{run}?{TRAINING})" for arm, run in arms.items()]
    for row in rows:
        stage, _, choice = row["stage"].partition("@")
        links[stage].append(f"[{choice or stage}]({runs}/{row['run']}?{TRAINING})")
    for stage, found in links.items():
        line = f"- {stage}: {', '.join(found)}"
        if len("\n".join([*lines, line])) > LONGEST_TAG - 100:
            return "\n".join([*lines, "- more in the artifact stages.json"])
        lines.append(line)
    return "\n".join(lines)


def computation(result: Result) -> Run | None:
    """The run of the stage that computed its outs; None if they were not computed here."""
    whole = [run for run in read_runs() if run.stage == result.address and run.outcome == "done"]
    ended = whole[-1].ended if whole else None
    written = [entry for path in result.outs() for entry in (path.glob("*") if path.is_dir() else [path])]
    ages = [entry.lstat().st_mtime for entry in written if entry.exists()]
    # DVC writes outs anew when it restores them: then even the oldest is younger than the last computation.
    if ended is None or (ages and min(ages) > ended + 60):
        return None
    return whole[-1]


def duration(computed: list[Run | None]) -> list[Measure]:
    """How long the stages took in all, if all of them were computed here."""
    return [("seconds", sum(run.seconds for run in computed if run), 0)] if all(computed) else []


def machine(computed: list[Run | None], about: dict[str, str]) -> dict[str, str]:
    """The tags of a result, with what computed it unless that was elsewhere: then this machine says nothing.

    computed: as `computation` gives it, of every stage that the result is made of
    """
    here = [run for run in computed if run]
    if len(here) < len(computed):
        return {name: value for name, value in about.items() if not name.startswith("on.")}
    words = dict.fromkeys(word for run in here for word in run.ran_with)
    precisions = get_args(Runtime.model_fields["precision"].annotation)
    found = {
        "on.device": " and ".join(word for word in words if re.fullmatch(r"(cpu|cuda|mps)(:\d+)?", word)),
        "on.precision": " and ".join(word for word in words if word in precisions),  # of trainings
    }
    return about | {name: value for name, value in found.items() if value}


def image_set() -> Images | None:
    """The images as MLflow lists data sets, or None if they are not here."""
    if not (DATA / "manifest.json").exists():
        return None
    manifest = read_json(DATA / "manifest.json")
    counts = {split: about["images"] for split, about in manifest.get("splits", {}).items()}
    classes = {labels: len(names) for labels, names in manifest.get("labels", {}).items()}
    return Images(
        name=Path(manifest["source"]).name,
        digest=manifest["digest"],
        source=manifest["source"],
        profile={"images": counts, "classes": classes, "image_size": manifest.get("image_size")},
    )


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


def first_line(*command: str) -> str:
    """What a program says first, or nothing if it is not there or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return "" if done.returncode else done.stdout.strip().partition("\n")[0]


if __name__ == "__main__":
    main()
