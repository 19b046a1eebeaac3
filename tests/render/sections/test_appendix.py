"""The appendix explains every verdict and lists the hardware and the wall time of the trainings."""

import json
from pathlib import Path

from stages.render.sections.appendix import (
    BIBTEX,
    GLOSSARY,
    citation,
    glossary,
    machine_records,
    machine_rows,
    wall_times,
)
from stages.results.study_results import Results
from stages.study.timings import Run
from tests.render.synthetic import study_of


def test_every_verdict_is_in_the_glossary() -> None:
    words = glossary().lower()
    for verdict in (
        "supported",
        "contradicted",
        "negligible",
        "undecided",
        "not testable",
        "fragile",
        "margin",
    ):
        assert verdict in words
    assert all(not text.endswith(".") for text in GLOSSARY.values())


def test_the_citation_is_that_of_the_paper() -> None:
    assert "@inproceedings{park2023what," in citation() and BIBTEX.count("{") == BIBTEX.count("}")


def test_machines_and_wall_times_are_listed_by_arm(tmp_path: Path) -> None:
    results = Results(study_of({"random": "random", "cl": "contrastive"}), tmp_path)
    for seed in (0, 1):
        (tmp_path / f"models/cl/{seed}").mkdir(parents=True)
    for seed, device in ((0, "cpu"), (1, "NVIDIA H100")):
        record = {"device": device, "precision": "32-true", "torch": "2.9", "timm": "1.0", "seed": seed,
                  "fingerprint": f"f{seed}"}  # fmt: skip
        (tmp_path / f"models/cl/{seed}/training.json").write_text(json.dumps(record))
    records = machine_records(results)
    runs = [
        Run(
            f"pretrain@cl-{seed}",
            1,
            0.0,
            outcome=outcome,
            seconds=seconds,
            message=f"trainings/f{seed}/result",
        )
        for seed, outcome, seconds in (
            (0, "done", 40.0),
            (0, "done", 1.0),
            (1, "done", 50.0),
            (1, "failed", 99.0),
        )
    ]
    times = wall_times(
        records, [*runs, Run("pretrain@cl", 1, 0.0, outcome="done", seconds=500.0, message="2")]
    )
    assert times == {"cl": "40 s to 50 s"} and wall_times(records, []) == {}
    # A requeued training: stopped twice with checkpoints, killed in between before the first one of its run.
    parts = [
        Run("pretrain@cl-1", 1, 0.0, outcome="interrupted", seconds=3600.0, epoch=3),
        Run("pretrain@cl-1", 2, 0.0),
        Run("pretrain@cl-0", 2, 0.0, outcome="interrupted", seconds=7.0, epoch=1),
        Run("pretrain@cl-1", 3, 0.0, seconds=1800.0, epoch=5),
    ]
    requeued = wall_times(records, [runs[0], *parts, runs[2], runs[1]])
    assert requeued == {"cl": "40 s to 1 h 31 min"}
    rows = machine_rows(records, wall_times=times)
    assert rows.loc["cl", "wall time per training"] == "40 s to 50 s"
    assert set(machine_rows(records, wall_times={})["wall time per training"]) == {"not recorded here"}
    assert rows.index.tolist() == ["cl"] and rows.loc["cl", "device"] == "cpu and NVIDIA H100"
    assert rows.loc["cl", "precision"] == "32-true"
