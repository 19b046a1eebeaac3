"""The appendix explains every verdict and says what the trainings ran on."""

import json

from stages.render.sections.appendix import (
    BIBTEX,
    GLOSSARY,
    citation,
    glossary,
    machine_records,
    machine_rows,
)
from stages.results.study_results import Results
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


def test_machines_are_named_by_arm_each_once(tmp_path) -> None:
    results = Results(study_of({"random": "random", "cl": "contrastive"}), tmp_path)
    for seed in (0, 1):
        (tmp_path / f"models/cl/{seed}").mkdir(parents=True)
    for seed, device in ((0, "cpu"), (1, "NVIDIA H100")):
        record = {"device": device, "precision": "32-true", "torch": "2.9", "timm": "1.0", "seed": seed}
        (tmp_path / f"models/cl/{seed}/training.json").write_text(json.dumps(record))
    rows = machine_rows(machine_records(results))
    assert rows.index.tolist() == ["cl"] and rows.loc["cl", "device"] == "cpu and NVIDIA H100"
    assert rows.loc["cl", "precision"] == "32-true"
