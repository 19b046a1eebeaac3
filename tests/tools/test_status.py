"""What the status says beforehand, against what `dvc repro` then does."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from dvc.repo import Repo

from stages.study.documents import read_yaml
from stages.study.params import load_params
from stages.study.timings import Run
from stages.tools.status import (
    CACHED,
    DONE,
    MAY_RUN,
    RUNNING,
    RUNS,
    Row,
    complete,
    reasons,
    rows_of,
    show,
    summary,
    trainings,
)
from stages.tools.trainings import Lacking
from tests.project import ROOT, as_dvc_repository, copy_project, edit, environment, run_in

# Stands in for every stage, since those take seconds to start: an out is a digest of what the stage reads;
# pre-training reads one number, so that a comment in its code changes nothing of what it writes.
STAGE = """
import hashlib, pathlib, sys, time
outs, reads = ([word for word in words.split(",") if word] for words in sys.argv[1:])
digest = hashlib.sha256()
for read in reads:
    if read == "cl_weight":
        digest.update(next(line for line in open("params.yaml") if "cl_weight:" in line).encode())
        continue
    place = pathlib.Path(read)
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if path.is_file() and path.name != ".gitignore":
            digest.update(path.read_bytes())
for sign in ("wait", "fail"):
    while pathlib.Path(sign).exists() and pathlib.Path(sign).read_text() in outs:
        time.sleep(0.02) if sign == "wait" else sys.exit("it failed")
for out in map(pathlib.Path, outs):
    file = out if out.suffix else out / "manifest.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{"digest": "%s"}' % digest.hexdigest())
"""
# Stands in for stages/tools/trainings.py, which needs real images and encoders.
TRAININGS = """
from types import SimpleNamespace as Lacking
STAGES = ("pretrain",)
def lacking(*stages):
    return [Lacking(name=f"pretrain@hybrid-{seed}", seed=seed) for seed in (0, 1)]
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished study of two arms under a part of the project's graph: DVC is slow with all of it."""
    project = copy_project(tmp_path_factory.mktemp("status") / "project")
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["arms"] = {name: params["arms"][name] for name in ("random", "hybrid")}
    params["probes"] = {name: params["probes"][name] for name in ("knn", "linear")}
    params["analyses"] = {"attention": params["analyses"]["attention"]}
    params["labels"] = {}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    graph = yaml.safe_load((project / "dvc.yaml").read_text())
    for name in ("check", "finetune", "robustness", "segment", "trajectory"):
        del graph["stages"][name]
    graph["stages"]["probe"]["matrix"]["probe"] = ["knn"]
    for name, group in graph["stages"].items():
        entry = group.get("do", group)
        entries = [*entry.get("outs", []), *entry.get("metrics", [])]
        outs = ",".join(path for out in entries for path in ([out] if isinstance(out, str) else out))
        products = (
            "data/",
            "models",
            "features",
            "results/analysis",
            "results/probe",
            "results/cl",
            "results/co",
            "reports",
        )
        reads = [dep for dep in entry["deps"] if dep.startswith(products)]
        code = [dep for dep in entry["deps"] if dep in ("stages/objectives/masked.py", f"stages/{name}.py")]
        entry["deps"] = [*reads, *code]
        sections = ("arms", "probes", "analyses", "seed")
        entry["params"] = [param for param in entry["params"] if param.startswith(sections)]
        entry["cmd"] = f"{sys.executable} -SE stage.py '{outs}' "
        entry["cmd"] += "cl_weight" if name == "pretrain" else f"'{','.join(reads)}'"
    (project / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    (project / "stage.py").write_text(STAGE)
    (project / "stages/tools/trainings.py").write_text(TRAININGS)
    as_dvc_repository(project)
    done = run_in(project, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Running stage") == 14
    return project


@pytest.fixture
def project(whole, tmp_path, monkeypatch):
    """A copy of it that a test may change, as the current folder."""
    shutil.copytree(whole, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path / "project"


def foretold():
    """The stages by state, those that are done left out."""
    states = {}
    for row in rows_of():
        if row.state != DONE:
            states.setdefault(row.state, set()).add(row.stage)
    return states


def why():
    return {row.stage: row.why for row in rows_of()}


@pytest.fixture
def repro(project, caplog):
    """`dvc repro` in this process, which is faster: what it runs, and what it takes from its cache."""

    def repro(**options):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="dvc"), Repo() as repo:
            repo.reproduce(**options)
        messages = [record.getMessage() for record in caplog.records]
        ran = {line.split("'")[1] for line in messages if line.startswith("Running stage")}
        return ran, {line.split("'")[1] for line in messages if "is cached - skipping run" in line}

    return repro


def test_nothing_runs_when_nothing_changed_or_only_how_it_runs(project, repro):
    edit(project, {"runtime": {"threads": 2, "eval_batch_size": 7}})
    assert foretold() == {} and repro() == (set(), set())
    assert summary(rows_of()) == "All 14 stages are done; `make study` runs nothing."


def test_what_users_add_to_dvc_is_no_stage_of_the_study(project):
    (project / "mine").mkdir()
    (project / "mine/image.png").write_text("pixels")
    (project / "mine/dvc.yaml").write_text("stages: {other: {cmd: 'true', deps: [image.png]}}")
    done = run_in(project, "dvc", "add", "mine/image.png")
    assert done.returncode == 0, done.stderr
    assert foretold() == {}
    done = run_in(project, sys.executable, "-m", "stages.tools.status")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "All 14 stages are done" in done.stdout and "mine" not in done.stdout


def test_a_changed_number_and_the_same_number_changed_back(project, repro):
    edit(project, {"arms": {"hybrid": {"cl_weight": 0.5}}})
    before = foretold()
    assert set(before) == {RUNS, MAY_RUN}
    # Which of them have arms: or arms.hybrid among their params.
    assert before[RUNS] == {"pretrain@hybrid", "compare", "decide", "report@attention", "summary", "track"}
    assert before[MAY_RUN] == {
        "features@hybrid",
        "probe@hybrid-knn",
        "analyze@hybrid-attention",
    }
    assert why()["pretrain@hybrid"] == ["arms.hybrid.cl_weight 0.2 → 0.5"]
    assert why()["probe@hybrid-knn"] == ["pretrain@hybrid would run"]
    assert repro(dry=True)[0] == before[RUNS]  # it lists what changed itself, and no more
    assert repro() == (before[RUNS] | before[MAY_RUN], set())
    assert foretold() == {}

    # Back again: DVC has no cache of what persists, and of the rest it depends on what pretrain leaves.
    edit(project, {"arms": {"hybrid": {"cl_weight": 0.2}}})
    back = foretold()
    assert back == before
    ran, cached = repro()
    assert ran == {"pretrain@hybrid", "track"} and cached == (before[RUNS] | before[MAY_RUN]) - ran


def test_what_ran_with_the_same_inputs_before_comes_from_the_cache(project, repro):
    probes = {"probe@hybrid-knn", "probe@random-knn"}
    edit(project, {"probes": {"knn": {"k": 3}}})
    assert foretold() == {RUNS: probes | {"decide", "summary", "track"}}
    assert repro() == (probes | {"decide", "summary", "track"}, set())
    edit(project, {"probes": {"knn": {"k": 5}}})
    assert foretold() == {CACHED: probes, RUNS: {"decide", "summary", "track"}}
    assert repro() == ({"track"}, probes | {"decide", "summary"})  # it does not look into the cache of probes
    assert foretold() == {}


def test_a_stage_that_writes_the_same_again_ends_the_chain(project, repro):
    with (project / "stages/objectives/masked.py").open("a") as source:
        source.write("# A remark.\n")
    before = foretold()
    assert before[RUNS] == {"pretrain@random", "pretrain@hybrid"}
    assert why()["pretrain@hybrid"] == ["stages/objectives/masked.py changed"]
    assert {"features@random", "decide", "report@attention", "track"} <= before[MAY_RUN]
    assert repro(dry=True)[0] == before[RUNS]
    assert repro() == (before[RUNS], set())  # none of those that may
    assert foretold() == {}


def test_what_was_deleted_comes_back_and_what_was_edited_by_hand_runs(project, repro):
    shutil.rmtree(project / "features/hybrid")
    (project / "results/probe/knn/random.json").unlink()  # a metric, of which DVC's cache has a copy
    assert foretold() == {CACHED: {"features@hybrid", "probe@random-knn"}}
    assert why()["features@hybrid"] == ["features/hybrid is missing"]
    (project / "results/analysis/attention/random.csv").unlink()
    (project / "results/analysis/attention/random.csv").write_text("by hand")
    before = foretold()
    assert before == {CACHED: {"features@hybrid", "probe@random-knn", "analyze@random-attention"}}
    assert repro() == (set(), before[CACHED])


def test_an_arm_more_and_another_number(project):
    edit(project, {"arms": {"cl": {"objective": "contrastive"}}, "probes": {"knn": {"k": 3}}})
    before, because = foretold(), why()
    assert because["pretrain@cl"] == because["probe@cl-knn"] == ["never run"]
    assert because["compare"] == ["arms.cl.objective contrastive added"]
    assert because["probe@hybrid-knn"] == ["probes.knn.k 5 → 3"]
    assert not before.get(MAY_RUN)


def note(project, stage, process, **saved):
    """Write what a process notes of itself."""
    about = {"time": time.time(), "process": process}
    events = [about | {"event": "began", "stage": stage}] + (
        [about | {"event": "saved"} | saved] if saved else []
    )
    (project / "scratch").mkdir(exist_ok=True)
    with (project / "scratch/timings.jsonl").open("a") as file:
        file.writelines(f"{json.dumps(event)}\n" for event in events)


def test_beside_a_run_it_tells_what_runs_and_does_not_wait(project):
    edit(project, {"arms": {"hybrid": {"cl_weight": 0.9}}})
    (project / "wait").write_text("models/hybrid")
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=project, env=environment(), stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert any(line.startswith(b"> ") for line in process.stdout)
        note(project, "pretrain@hybrid", process.pid)
        refused = run_in(project, "dvc", "status", "pretrain@hybrid")
        assert refused.returncode != 0 and "busy" in refused.stderr  # as is `dvc status`
        done = run_in(project, sys.executable, "-m", "stages.tools.status", "--json")
        assert done.returncode == 0, done.stderr
        states = {row["stage"]: row["state"] for row in json.loads(done.stdout)["stages"]}
        assert states["pretrain@hybrid"] == RUNNING
        assert states["features@hybrid"] == MAY_RUN and states["features@random"] == DONE
        assert states["compare"] == RUNS
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert {row.stage: row.state for row in rows_of()}["pretrain@hybrid"] == RUNS


def test_as_a_command_it_prints_a_table(project):
    edit(project, {"arms": {"hybrid": {"cl_weight": 0.5}}})
    note(project, "pretrain@hybrid", 2**30, epoch=3, epochs=6)
    note(project, "pretrain@hybrid-1", os.getpid(), epoch=5, epochs=6)
    done = run_in(project, sys.executable, "-m", "stages.tools.status")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["random", "hybrid"]
    assert any(line.split() == ["pretrain", "done", "killed"] for line in lines)
    assert any(line.split() == ["probe", "knn", "done", "may", "run"] for line in lines)
    assert any(line.split() == ["compare", "runs"] for line in lines)
    assert "pretrain@hybrid: killed, saved up to epoch 3 of 6" in lines
    assert any(
        line.startswith("pretrain@hybrid-1: running for ") and "saved up to epoch 5 of 6" in line
        for line in lines
    )
    assert any(line.startswith("arms.hybrid.cl_weight 0.2 → 0.5: pretrain@hybrid, ") for line in lines)
    assert lines[-2] == "Missing trainings: pretrain@hybrid seeds 0, 1."
    assert lines[-1].startswith("Of 14 stages: 6 to run, 6 of unknown time; 3 may run, 3 of unknown time.")


def test_stages_from_the_cache_add_no_line_to_the_json(project):
    shutil.rmtree(project / "features/hybrid")
    done = run_in(project, sys.executable, "-m", "stages.tools.status", "--json")
    assert done.returncode == 0, done.stderr
    states = {row["stage"]: row["state"] for row in json.loads(done.stdout)["stages"]}
    assert states["features@hybrid"] == CACHED


def test_a_wrong_number_is_one_line(project):
    edit(project, {"arms": {"hybrid": {"cl_weight": 2.0}}})
    done = run_in(project, sys.executable, "-m", "stages.tools.status")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "arms.hybrid.cl_weight" in done.stderr


def run_of(stage, seconds=0.0, outcome="done", **about):
    return Run(stage, process=1, began=0.0, ended=1.0, outcome=outcome, seconds=seconds, **about)


def test_times_are_learnt_and_failures_told():
    rows = [
        Row("pretrain@cl", RUNS),
        Row("pretrain@new", RUNS),
        Row("pretrain@mim", RUNS),
        Row("probe@new-knn", MAY_RUN),
        Row("probe@cl-knn", DONE),
        Row("summary", RUNS),
    ]
    runs = [run_of("pretrain@cl-0", 50.0), run_of("pretrain@mim-0", 30.0), run_of("probe@cl-knn", 7.0)]
    runs += [run_of("probe@cl-linear", 9.0), run_of("pretrain@cl", 4.0)]
    runs += [run_of("pretrain@cl", outcome="failed", message="no room", epoch=2, epochs=6)]
    missing = [Lacking("pretrain", "cl", 1), Lacking("pretrain", "cl", 2), Lacking("pretrain", "new", 0)]
    complete(rows, runs=runs, missing=missing)
    cl, new, mim, probe, done, last = rows
    assert cl.seconds == 100.0 and cl.lacks == [1, 2]
    assert cl.failed == "failed, no room, saved up to epoch 2 of 6"
    assert new.seconds is None and new.lacks == [0]  # its time depends on its objective
    assert mim.seconds == 0 and mim.lacks == []  # it collects what the store has
    assert probe.seconds == 7.0 and done.seconds is None and last.seconds is None
    assert trainings(rows) == ["Missing trainings: pretrain@cl seeds 1, 2; pretrain@new seeds 0."]
    assert summary(rows).startswith(
        "Of 6 stages: 4 to run, about 1 min 40 s and 2 of unknown time; 1 may run, about 7 s."
    )


def test_trainings_of_a_stage_whose_inputs_may_change_are_not_known():
    rows = [Row("pretrain@cl", RUNS, waits=True), Row("finetune@cl", RUNS, waits=True)]
    complete(rows, runs=[run_of("finetune@mim", 20.0)], missing=[])
    assert [(row.lacks, row.seconds) for row in rows] == [(None, None), (None, 20.0)]


def test_the_table_is_in_the_order_of_params_yaml(capsys):
    study = load_params(ROOT / "params.yaml")
    rows = [Row(f"probe@{arm}-{probe}", RUNS) for arm in reversed(study.arms) for probe in ("linear", "knn")]
    show(rows, graph=read_yaml(ROOT / "dvc.yaml")["stages"], study=study)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [*study.arms]
    assert [line.split("  ")[0] for line in lines[1:3]] == ["probe knn", "probe linear"]


def test_many_reasons_and_many_stages_are_counted():
    rows = [Row(f"probe@{arm}-knn", RUNS, ["probes.knn.k 5 → 3"] * 2) for arm in "abcdefgh"]
    assert reasons(rows) == ["probes.knn.k 5 → 3: 8 stages run"]
    rows = [Row(f"probe@{arm}-knn", MAY_RUN, [arm]) for arm in "abcdefghijklmno"]
    assert reasons(rows)[0] == "a: probe@a-knn may run"
    assert reasons(rows)[-1] == "and 3 more reasons: `.venv/bin/python -m stages.tools.status --json`"
