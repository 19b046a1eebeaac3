"""The data set torch/image_folder: its splits, and its files as they are."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from stages.data.decode import decode
from stages.data.deep import Unreadable
from stages.data.named import list_named
from tests.data.pictures import class_files, encoded, write_folder


def test_a_folder_by_name(tmp_path):
    files = class_files(prefix="train/") | class_files(prefix="val/", count=2)
    train, test = list_named("torch/image_folder", root=str(write_folder(tmp_path, files)))
    assert len(train.classes) == 10
    assert test is not None and len(test.classes) == 4
    assert set(train.classes.values()) == set(test.classes.values()) == {"cat", "dog"}


def test_a_folder_without_splits_is_not_tested_on_its_training_images(tmp_path):
    train, test = list_named("torch/image_folder", root=str(write_folder(tmp_path, class_files())))
    assert len(train.classes) == 10 and test is None


def test_an_image_that_cannot_be_opened_is_unreadable(tmp_path):
    files = class_files(prefix="train/") | {"train/cat/000.png": b"not an image"}
    train, _ = list_named("torch/image_folder", root=str(write_folder(tmp_path, files)))
    contents = dict(train.read(["train/0", "train/1"]))
    with pytest.raises(Unreadable):
        decode(contents["train/0"], image_size=8)
    assert contents["train/1"] == files["train/cat/001.png"]


def test_a_folder_by_name_gives_its_files_as_they_are(tmp_path):
    deep = encoded(Image.fromarray(np.arange(144, dtype=np.uint16).reshape(12, 12) * 28), format="PNG")
    files = class_files(prefix="train/") | {"train/cat/000.png": deep}
    (write_folder(tmp_path, files) / "train/cat/005.png").symlink_to("nowhere.png")
    train, _ = list_named("torch/image_folder", root=str(tmp_path))
    contents = dict(train.read(train.classes))
    assert contents.pop("train/5") == b""
    assert list(contents.values()) == list(files.values())


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_a_folder_by_name_without_one_split_has_the_other(tmp_path, held_out):
    files = class_files(prefix="train/") | class_files(prefix=f"{held_out}/", count=2)
    train, test = list_named("torch/image_folder", root=str(write_folder(tmp_path, files)))
    assert len(train.classes) == 10
    assert test is not None and Counter(test.classes.values()) == {"cat": 2, "dog": 2}


def test_the_root_of_a_named_set_is_found_in_a_temporary_run_of_dvc(tmp_path, monkeypatch):
    write_folder(tmp_path / "project/pets", class_files(prefix="train/"))
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    train, _ = list_named("torch/image_folder", root="pets")
    assert len(train.classes) == 10 and not (tmp_path / "run/pets").exists()
