"""An object of DVC's cache in which a bit flipped: it is named and deleted, and its stage runs again."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from stages.tools.scrub import remove_damaged_objects

OUTS = {
    "table": "echo {name} > {name}",
    "folder": "mkdir {name} && echo one > {name}/1 && echo two > {name}/2",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A finished study of two stages, whose outs are then removed and forgotten."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    stages = {
        name: {"cmd": f"echo {name} >> runs && {command.format(name=name)}", "deps": ["in"], "outs": [name]}
        for name, command in OUTS.items()
    }
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    Path("in").write_text("in")
    Repo.init().close()
    with Repo() as repo:
        repo.reproduce()
    subprocess.run(["rm", "-r", "dvc.lock", *OUTS], check=True)
    return tmp_path


def flip_a_bit(path):
    """As a failing disk does: neither the time nor the mode of the file changes."""
    before = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def objects(ending=""):
    return [path for path in Path(".dvc/cache/files/md5").glob(f"*/*{ending}") if path.suffix == ending]


def reproduce(stale=frozenset(OUTS)):
    with Repo() as repo:
        remove_damaged_objects(repo, stale)
        repo.reproduce()
    return Path("runs").read_text().split()[2:]


def test_intact_objects_are_checked_out(project, capsys):
    assert reproduce() == []
    assert "damaged" not in capsys.readouterr().out


@pytest.mark.parametrize("content", ["table\n", "two\n"])
def test_a_damaged_one_is_named_and_never_checked_out(project, capsys, content):
    (damaged,) = (path for path in objects() if path.read_text() == content)
    flip_a_bit(damaged)
    assert reproduce() == ["table" if content == "table\n" else "folder"]
    assert (
        f"/{damaged}: damaged in DVC's cache; deleted, so its stage runs again\n" in capsys.readouterr().out
    )
    assert Path("table").read_text() == "table\n" and Path("folder/2").read_text() == "two\n"
    assert damaged.read_text() == content


def test_a_damaged_list_of_a_folder_is_one_too(project, capsys):
    (damaged,) = objects(".dir")
    flip_a_bit(damaged)
    assert reproduce() == ["folder"]
    assert damaged.name in capsys.readouterr().out and Path("folder/1").read_text() == "one\n"


def test_objects_of_other_stages_are_not_read(project, capsys):
    for path in objects():
        flip_a_bit(path)
    with Repo() as repo:
        remove_damaged_objects(repo, ())
    assert not capsys.readouterr().out and len(objects()) == 3
