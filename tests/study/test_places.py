"""Paths of users: none may lie in what the stages write, whatever way it is named."""

import os
from pathlib import Path

import pytest
import yaml

from stages.study.errors import ParamsError
from stages.study.params import load_params, validate
from stages.study.places import conflict, named_paths, outs_of, refuse_places
from tests.project import ROOT

IMPORTED = {"objective": "imported", "format": "mae", "weights": "w.pth"}
OWN = {"source": "own", "classes": {"a": "b", "c": "d"}}


@pytest.fixture
def values():
    """The content of params.yaml with a value at every key that may name a path."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["data"] |= {"source": "photos", "test_source": "held", "root": "kept"}
    values["data"]["masks"] = {"source": "masks", "test_source": "more"}
    values["robustness"]["stimuli"]["own"] = dict(OWN)
    values["arms"]["theirs"] = dict(IMPORTED)
    return values


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with outs, beside folders of a user; it is the working directory."""
    project = tmp_path / "home/project"
    for folder in ("data/prepared/train", "models/cl", "results/finetune/cl", "data/mine", "reports/figures"):
        (project / folder).mkdir(parents=True)
    (project / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (project / "results/comparison.csv").write_text("cka\n")
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("HOME", str(project.parent))
    return project


def refused(path, project):
    return conflict(path, outs=outs_of(project / "dvc.yaml"), root=project)


KEYS = (
    "data.source",
    "data.test_source",
    "data.root",
    "data.masks.source",
    "data.masks.test_source",
    "robustness.stimuli.own.source",
    "arms.theirs.weights",
)


@pytest.mark.parametrize("key", KEYS)
def test_every_path_is_looked_at(project, values, key):
    refuse_places(validate(values))
    section = values
    *parents, last = key.split(".")
    for part in parents:
        section = section[part]
    section[last] = "models/cl/x"
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    for stage in (None, "prepare"):  # every stage reads params.yaml through this
        with pytest.raises(ParamsError) as error:
            load_params(stage=stage)
        assert str(error.value).startswith(f"params.yaml: {key} is 'models/cl/x', which lies in models: DVC ")
        assert "stage pretrain" in str(error.value) and "\n" not in str(error.value)


def test_no_key_that_names_a_path_is_forgotten(values):
    assert sorted(named_paths(validate(values))) == sorted(KEYS)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data/prepared", "lies in data/prepared"),
        ("data/prepared/x", "lies in data/prepared"),
        ("./data//prepared/x/../y", "lies in data/prepared"),
        ("stages/../models/x.pth", "lies in models"),
        ("~/project/results/finetune/cl", "lies in results/finetune"),
        ("results/comparison.csv", "lies in results/comparison.csv"),
        ("results/check.json", "lies in results/check.json"),
        ("reports/figures/mine", "lies in reports/figures"),
        ("models", "lies in models"),
        ("data", "contains data/prepared"),
        ("results", "contains results/"),
        (".", "contains the project folder"),
        ("..", "contains the project folder"),
        ("~", "contains the project folder"),
        ("/", "contains the project folder"),
    ],
)
def test_places_in_and_around_outs_are_refused(project, path, words):
    reason = refused(path, project)
    assert reason.startswith(words) and "\n" not in reason


@pytest.mark.parametrize(
    "path",
    [
        "data/mine",
        "data/prepared2",
        "data/prepared.tar",
        "models.tar",
        "photos",
        "../photos",
        "~/photos",
        "scratch/mine",
        "results2/finetune",
        "shapes_textures",
        "torch/cifar10",
        "hfds/uoft-cs/cifar10",
    ],
)
def test_other_places_are_free(project, path):
    assert refused(path, project) == ""


def test_links_are_followed(project):
    def link(name, target):
        path = project.parent / name
        path.symlink_to(target)
        return str(path)

    assert refused(link("a", project / "data/prepared/train"), project).startswith("lies in data/prepared")
    assert refused(link("b", project / "models") + "/cl/x.pth", project).startswith("lies in models")
    assert refused(link("c", project.parent / "a"), project).startswith("lies in data/prepared")
    assert refused(link("d", project / "results/none-yet"), project) == ""
    assert refused(link("e", project / "models/none-yet"), project).startswith("lies in models")
    assert refused(link("f", project.parent), project).startswith("contains the project folder")
    assert refused(link("g", "g"), project) == ""  # a loop, which is no folder either
    (project / "models/away").symlink_to(project.parent / "photos")  # the link itself would be deleted
    assert refused("models/away/x", project).startswith("lies in models")


def test_the_project_may_be_named_through_a_link(project, monkeypatch):
    alias = project.parent / "alias"
    alias.symlink_to(project)
    monkeypatch.chdir(alias)
    for path in (f"{alias}/models/x", f"{project}/models/x", "models/x"):
        assert refused(path, alias).startswith("lies in models")
        assert refused(path, project).startswith("lies in models")


def test_a_temporary_run_of_dvc_looks_at_the_project_it_comes_from(project, values, monkeypatch):
    copy = project / ".dvc/tmp/exps/tmp1"
    copy.mkdir(parents=True)
    (copy / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(project))
    refuse_places(validate(values))
    values["data"]["source"] = str(project / "data/prepared")
    with pytest.raises(ParamsError, match="lies in data/prepared"):
        refuse_places(validate(values))


def test_outs_of_a_new_stage_are_covered_by_themselves(project):
    with (project / "dvc.yaml").open("a") as file:
        file.write("")
    graph = yaml.safe_load((project / "dvc.yaml").read_text())
    graph["stages"]["new"] = {
        "matrix": {"arm": "${arms}"},
        "cmd": "true",
        "outs": ["new/of-${item.arm}/x", {"other/table.csv": {"cache": False}}],
        "metrics": ["elsewhere/${item.arm}.json"],
    }
    (project / "dvc.yaml").write_text(yaml.safe_dump(graph))
    for path in ("new/mine", "other/table.csv", "elsewhere/mine"):
        assert "stage new" in refused(path, project)
    assert refused("other/mine", project) == ""


def test_no_out_of_the_study_covers_the_whole_project():
    outs = outs_of(ROOT / "dvc.yaml")
    assert Path(".") not in outs and Path("data") not in outs and Path("data/prepared") in outs


@pytest.mark.parametrize("folder", ["data", "data/prepared", "models", "results/finetune"])
def test_a_folder_of_outs_that_is_a_link_names_the_settings_of_dvc(project, values, folder):
    disk = project.parent / "disk"
    os.replace(project / folder, disk)
    (project / folder).symlink_to(disk)
    with pytest.raises(ParamsError) as error:
        refuse_places(validate(values))
    line = str(error.value)
    assert line.startswith(f"{folder} is a link") and "\n" not in line
    assert f"dvc cache dir {disk}/dvc-cache" in line and "dvc config cache.type symlink" in line


def test_files_that_are_links_into_the_cache_of_dvc_are_none_of_that(project, values):
    cache = project.parent / "disk/cache/files/md5/ab"
    cache.mkdir(parents=True)
    (project / "results/comparison.csv").unlink()
    (project / "results/comparison.csv").symlink_to(cache / "cdef")  # as of cache.type symlink; gone from it
    refuse_places(validate(values))
    (cache / "cdef").write_text("cka\n")
    values["data"]["root"] = str(project.parent / "disk")
    refuse_places(validate(values))
