"""Archives as they are distributed, and what is wrong with a source in one line."""

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from stages.data import sources
from stages.data.listings import list_images, list_splits
from stages.data.sources import open_source, reason_against
from stages.study.errors import StudyError
from tests.data.pictures import class_files, png, write_folder, write_tar
from tests.project import ROOT


def write_zip(path, files, *, windows=False):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.create_system = 0 if windows else 3
            if windows:
                member.filename = name.replace("/", "\\")
            archive.writestr(member, content)
    return path


@pytest.mark.parametrize("windows", [False, True])
def test_a_zip_is_as_good_as_a_folder(tmp_path, windows):
    files = class_files(prefix="train/") | class_files(prefix="val/", count=2) | {"__MACOSX/train/._cat": b""}
    parts = list_splits(str(write_zip(tmp_path / "images.zip", files, windows=windows)))
    assert len(parts.train.classes) == 10 and parts.test is not None and len(parts.test.classes) == 4
    assert dict(parts.train.read(["train/cat/003.png"])) == {"train/cat/003.png": files["train/cat/003.png"]}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_of_tars_has_a_class_for_each(tmp_path, mode):
    files = class_files(("n01440764", "n01443537"))
    inner = {}
    for label in ("n01440764", "n01443537"):
        of_class = {
            name.partition("/")[2]: content for name, content in files.items() if name.startswith(label)
        }
        inner[f"ILSVRC2012_img_train/{label}.tar"] = write_tar(tmp_path / label, of_class).read_bytes()
    listing = list_images(str(write_tar(tmp_path / "train.tar", inner, mode=mode)))
    assert listing.classes == {f"ILSVRC2012_img_train/{name}": name[:9] for name in files}
    member = "ILSVRC2012_img_train/n01443537/004.png"
    assert dict(listing.read([member])) == {member: files["n01443537/004.png"]}


def test_an_archive_that_nothing_opens_is_one_line(tmp_path):
    (tmp_path / "images.rar").write_bytes(b"Rar!\x1a\x07" + bytes(2000))
    with pytest.raises(StudyError) as error:
        list_images(str(tmp_path / "images.rar"))
    assert "images.rar: not a complete tar archive (" in str(error.value) and "\n" not in str(error.value)


def test_a_broken_zip_and_one_with_a_password_are_named(tmp_path):
    path = write_zip(tmp_path / "images.zip", class_files())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StudyError, match=r"images\.zip: not a complete zip archive \("):
        open_source(str(path))
    locked = bytearray(whole)
    for at in (place for place in range(len(whole)) if whole.startswith(b"PK\x01\x02", place)):
        locked[at + 8] |= 1
    path.write_bytes(locked)
    with pytest.raises(StudyError, match=r"images\.zip: needs a password"):
        open_source(str(path))


def test_a_folder_of_archives_names_one_of_them(tmp_path):
    write_folder(tmp_path, {"train.zip": b"PK\x03\x04", "test.zip": b"PK\x03\x04", "README": b""})
    with pytest.raises(StudyError, match=r"holds no images, only archives; name one, such as .*/test\.zip"):
        list_images(str(tmp_path))


def test_heic_is_an_image_with_its_library_and_named_without(monkeypatch):
    monkeypatch.setattr(sources, "find_spec", lambda name: object())
    assert reason_against("cat/IMG_1.HEIC") == ""
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    assert reason_against("cat/IMG_1.HEIC") == "needs pillow-heif: `pip install '.[pictures]'`"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users as on Unix")
def test_a_folder_that_nobody_may_read_is_named(tmp_path):
    write_folder(tmp_path / "images", class_files(("cat", "dog", "owl")))
    (tmp_path / "images/owl").chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)
    code = (
        "import os, sys\n"
        "from stages.data.listings import list_images\n"
        "from stages.study.errors import StudyError\n"
        "os.geteuid() or os.setuid(65534)\n"
        "try: list_images(sys.argv[1])\n"
        "except StudyError as error: print(error)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "images")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    (tmp_path / "images/owl").chmod(0o755)
    assert done.stdout.endswith("images/owl: Permission denied; make it readable, or move it elsewhere\n")


def test_a_zip_inside_a_tar_is_counted(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", png())
    path = write_tar(tmp_path / "images.tar", class_files() | {"more.zip": buffer.getvalue()})
    assert open_source(str(path)).others == {"more.zip": "an archive; unpack it"}
