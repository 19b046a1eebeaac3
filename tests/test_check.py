"""The stage that reads all of params.yaml before any other stage runs."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from stages.check import main
from tests.project import ROOT, copy_project, edit, run_in

ABSENT = "cuda" if sys.platform == "darwin" else "mps"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The project in a folder of its own, which is the working directory."""
    project = copy_project(tmp_path / "project")
    shutil.copy(ROOT / "params.yaml", project / "params.yaml")
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(sys, "argv", ["check"])
    return project


def refusal(capsys):
    """The line that the stage ends with, without a line end."""
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and err.count("\n") == 1
    return err.rstrip("\n")


@pytest.mark.parametrize("loaded", [None, ModuleType("torchcodec.decoders")], ids=["missing", "unfit"])
def test_photographs_without_their_decoder_are_refused_and_squares_are_not(
    project, capsys, monkeypatch, loaded
):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", loaded)
    edit(project, {"data": {"source": "stages", "store": "photographs"}})
    line = refusal(capsys)
    assert "data.store photographs needs torchcodec, which cannot be loaded (" in line
    assert "; `pip install '.[photographs]'` installs it and a torch that fits (here: " in line
    assert line.endswith("), or set store: squares")
    edit(project, {"data": {"store": "squares"}})
    main()


def test_a_key_given_twice_is_refused_where_it_stands(project, capsys):
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(f"{text}\nseed: 1\n")
    line = text.count("\n") + 2
    assert refusal(capsys) == f'check: params.yaml line {line}: invalid YAML: found duplicate key "seed"'


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"arms": {"x": {"objective": "contrastve"}}},
            ["arms.x.objective", "'contrastve'", "contrastive, dino, hybrid"],
        ),
        ({"analyses": {"colour": {"images": 5}}}, ["analyses.colour", "attention, attention_maps, fourier"]),
        ({"arms": {"cl": {"width": 30}}}, ["arms.cl", "30", "multiple of heads"]),
        (
            {"arms": {"idle": {"objective": "masked", "objectives": {"dino": {"momentum": 0.9}}}}},
            ["arms.idle.objectives.dino", "masked reads masked; remove dino"],
        ),
        (
            {"arms": {"mae": {"objective": "autoencoder", "position": "relative"}}},
            ["arms.mae", "position relative needs whole images"],
        ),
        ({"seed": -1}, ["seed", "-1", "greater than or equal to 0"]),
        (
            {"report": {"compare_with": {"CIFAR-10": "cifar/claims.json"}}},
            ["report.compare_with.CIFAR-10", "'cifar/claims.json'", "no such file"],
        ),
        (
            {"report": {"compare_with": {"This one": "results/claims.json"}}},
            ["report.compare_with.This one", "lies in results/claims.json"],
        ),
        ({"data": {"source": "imagse"}}, ["data.source", "'imagse'", "no such file"]),
        ({"data": {"source": "torch/cifar10", "test_source": "held"}}, ["data.test_source", "'held'"]),
        ({"runtime": {"accelerator": ABSENT}}, ["runtime.accelerator", f"'{ABSENT}'", "torch finds none"]),
        (
            {"robustness": {"corruptions": {"blur": {"levels": [1]}}}},
            ["robustness.corruptions.blur", "edges, frequency_noise"],
        ),
        (
            {"robustness": {"corruptions": {"patch_shuffle": {"levels": [0]}}}},
            ["patch_shuffle.levels.0", "greater than 0"],
        ),
        (
            {"robustness": {"stimuli": {"own": {"source": "nowhere", "classes": {"a": "b", "c": "d"}}}}},
            ["robustness.stimuli.own.source", "'nowhere'", "no such file"],
        ),
        ({"data": {"masks": {"source": "nowhere"}}}, ["data.masks", "draws its own masks"]),
        (
            {"data": {"source": "stages", "masks": {"source": "nowhere"}}},
            ["data.masks.source", "'nowhere'", "no such file"],
        ),
        ({"probes": {"attentive": {"heads": 5}}}, ["probes.attentive.heads is 5", "64"]),
    ],
)
def test_the_check_names_what_is_wrong_in_one_line(project, capsys, changes, words):
    main()
    assert capsys.readouterr() == ("", "")
    edit(project, changes)
    line = refusal(capsys)
    for word in words:
        assert word in line


def test_the_out_is_written_once_and_never_changes(project, capsys):
    main()
    out = Path("results/check.json")
    content, modified = out.read_bytes(), out.stat().st_mtime_ns
    edit(project, {"probes": {"knn": {"k": 3}}})
    main()
    assert (out.read_bytes(), out.stat().st_mtime_ns) == (content, modified)
    assert content == (ROOT / out).read_bytes()
    edit(project, {"probes": {"knn": {"k": -1}}})
    refusal(capsys)
    assert out.read_bytes() == content


def test_a_merge_conflict_in_the_lock_is_named(project, capsys):
    Path("dvc.lock").write_text("schema: '2.0'\n<<<<<<< HEAD\nstages: 1\n")
    line = refusal(capsys)
    assert line == (
        "check: dvc.lock line 2: merge conflict; run `git checkout --ours dvc.lock`, then `make study` "
        "(only stages whose inputs changed will run)"
    )


@pytest.mark.parametrize(
    ("path", "words"), [("a" * 300, "File name too long"), ("a\0b", "contains a zero byte")]
)
def test_what_cannot_be_a_path_is_one_line(project, capsys, path, words):
    edit(project, {"data": {"source": path}})
    line = refusal(capsys)
    assert line.startswith("check: params.yaml: data.source is 'a") and words in line


def test_the_check_starts_without_torch(project):
    code = "import sys, stages.check; sys.exit(any(n in sys.modules for n in ('torch', 'numpy', 'pandas')))"
    assert run_in(project, sys.executable, "-c", code).returncode == 0
