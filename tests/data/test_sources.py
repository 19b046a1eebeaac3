"""Archives as they are distributed, and what is wrong with a source in one line."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from stages.data import sources
from stages.data.listings import list_images, list_splits
from stages.data.sources import located, open_source, reason_against
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


def linked_folder(root):
    """Classes of files (cat), of hard links to them (dog) and of symbolic links to both (owl)."""
    write_folder(root, class_files(["cat"], count=3))
    for label in ("dog", "owl"):
        (root / label).mkdir()
    for number in range(3):
        os.link(root / f"cat/00{number}.png", root / f"dog/{number}.png")
        (root / f"owl/{number}.png").symlink_to(f"../{('cat/00', 'dog/')[number % 2]}{number}.png")
    return root


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar of tars"])
def test_links_in_a_tar_are_the_files_that_they_name(tmp_path, kind):
    root, path, prefix = linked_folder(tmp_path / "images"), tmp_path / "images.tar", "images"
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
        archive.add(root, arcname="./images")
    if kind == "tar of tars":
        prefix = "more/inner/images"
        path = write_tar(tmp_path / "outer.tar", {"more/inner.tar": path.read_bytes()})
    of_tar, of_folder = open_source(f"{path}"), open_source(f"{root}")
    assert of_tar.images == [f"{prefix}/{name}" for name in of_folder.images]
    assert dict(of_tar.read(of_tar.images)) == {
        f"{prefix}/{name}": content for name, content in of_folder.read(of_folder.images)
    }
    assert dict(of_tar.read([f"{prefix}/owl/1.png"])).keys() == {f"{prefix}/owl/1.png"}


def test_a_link_out_of_a_tar_is_counted_and_a_class_of_such_links_is_refused(tmp_path):
    root = write_folder(tmp_path / "images", class_files(("cat", "dog", "owl"), count=2))
    (root / "cat/out.png").symlink_to(tmp_path / "elsewhere.png")
    (root / "cat/loop.png").symlink_to("loop.png")
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(root, arcname="images")
    reason = "a link to a folder or out of the archive; pack it with `tar --dereference`"
    parts = list_splits(str(tmp_path / "images.tar"))
    assert len(parts.train.classes) == 6 and parts.skipped == ((f".png: {reason}", 2),)
    for path in (root / "dog").iterdir():
        path.unlink()
        path.symlink_to(tmp_path / "elsewhere.png")
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(root, arcname="images")
    with pytest.raises(StudyError, match=r"1 of 3 classes have no readable image \(dog\); dog has 2 \.png"):
        list_splits(str(tmp_path / "images.tar"))


def test_the_home_of_a_user_who_does_not_exist_is_no_folder():
    assert located("~nosuchuser/images") is None
    with pytest.raises(StudyError, match="~nosuchuser/images: no such folder, tar or zip archive"):
        open_source("~nosuchuser/images")


def test_annotations_that_are_a_link_out_of_a_tar_name_no_classes(tmp_path):
    path = write_tar(tmp_path / "images.tar", class_files(["images"], prefix="val/"))
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("val/val_annotations.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/elsewhere/val_annotations.txt"
        archive.addfile(link)
    assert set(list_images(str(path)).classes.values()) == {"images"}


def test_a_tar_of_links_to_folders_names_one(tmp_path):
    write_folder(tmp_path / "flat", class_files())
    (tmp_path / "images").mkdir()
    for label in ("cat", "dog"):
        (tmp_path / f"images/{label}").symlink_to(tmp_path / "flat" / label)
    assert len(open_source(str(tmp_path / "images")).images) == 10
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(tmp_path / "images", arcname="images")
    with pytest.raises(StudyError, match=r"holds no images; images/cat is a link to a folder or out of"):
        open_source(str(tmp_path / "images.tar"))
    write_tar(tmp_path / "images.tar", class_files(prefix="images/"), mode="a")
    (tmp_path / "images/owl").symlink_to(tmp_path / "flat/cat")
    with tarfile.open(tmp_path / "images.tar", "a") as archive:
        archive.add(tmp_path / "images/owl", arcname="images/owl")
    parts = list_splits(str(tmp_path / "images.tar"))
    assert set(parts.train.classes.values()) == {"cat", "dog"}
    assert [kind.partition(";")[0] for kind, _ in parts.skipped] == [
        "no suffix: a link to a folder or out of the archive"
    ]
