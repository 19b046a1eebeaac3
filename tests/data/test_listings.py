"""Folders and tars say the same about what they hold."""

import os

import pytest

from stages.data.listings import list_images, list_splits
from stages.data.sources import located
from stages.study.errors import StudyError
from tests.data.pictures import class_files, png, write_folder, write_tar


@pytest.fixture(params=["folder", "tar", "tar.gz", "tar.xz"])
def store(request, tmp_path):
    """Puts files into a folder or a tar of one kind or another and gives the name of that."""
    if request.param == "folder":
        return lambda files: str(write_folder(tmp_path / "images", files))
    mode = "w:" + request.param.partition(".")[2]
    return lambda files: str(write_tar(tmp_path / f"images.{request.param}", files, mode=mode))


PREFIXES = ["", "cifar10-train/", "a/b c/d/"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_classes_are_folders_under_any_prefix(store, prefix):
    listing = list_images(store(class_files(("cat", "dog"), 2, prefix)))
    assert sorted(listing.classes.items()) == [
        (f"{prefix}cat/000.png", "cat"),
        (f"{prefix}cat/001.png", "cat"),
        (f"{prefix}dog/000.png", "dog"),
        (f"{prefix}dog/001.png", "dog"),
    ]


def test_the_contents_are_those_of_the_files(store):
    files = class_files()
    listing = list_images(store(files))
    assert dict(listing.read(list(files))) == files
    assert dict(listing.read(["dog/003.png"])) == {"dog/003.png": files["dog/003.png"]}


def test_tar_names_with_a_leading_dot_are_the_same_names(tmp_path):
    plain = list_images(str(write_tar(tmp_path / "plain.tar", class_files())))
    dotted = list_images(str(write_tar(tmp_path / "dotted.tar", class_files(prefix="./"))))
    assert plain.classes == dotted.classes


def test_other_files_are_left_alone(store):
    others = {"README.md": b"hello", "cat/labels.txt": b"1", ".DS_Store": b"", "cat/.hidden.png": png()}
    others |= {"__MACOSX/cat/000.png": b"", "cat/._000.png": b""}
    assert list_images(store(others | class_files())).classes.keys() == class_files().keys()


def test_suffixes_count_in_any_case(store):
    files = {"cat/A.PNG": png(1), "dog/b.JpG": png(2), "dog/c.jpeg": png(3)}
    assert list_images(store(files)).classes == {"cat/A.PNG": "cat", "dog/b.JpG": "dog", "dog/c.jpeg": "dog"}


def test_folders_within_a_class_are_of_the_class(store):
    files = {"cat/young/1.png": png(1), "cat/old/1.png": png(2), "dog/1.png": png(3)}
    assert set(list_images(store(files)).classes.values()) == {"cat", "dog"}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", ["test", "val", "validation"])
def test_train_and_held_out_folders_are_used(store, prefix, name):
    files = class_files(prefix=f"{prefix}train/", count=3) | class_files(prefix=f"{prefix}{name}/", count=2)
    train, test, *_ = list_splits(store(files))
    assert len(train.classes) == 6 and set(train.classes.values()) == {"cat", "dog"}
    assert test is not None and set(test.classes.values()) == {"cat", "dog"}
    assert sorted(test.classes) == sorted(class_files(prefix=f"{prefix}{name}/", count=2))
    assert len(list(test.read(test.classes))) == 4


def test_test_counts_before_val(store):
    parts = [class_files(prefix=f"{part}/", count=1) for part in ("train", "val", "test")]
    _, test, *_ = list_splits(store(parts[0] | parts[1] | parts[2]))
    assert test is not None and test.classes.keys() == parts[2].keys()


def test_without_both_folders_all_images_are_together(store):
    train, test, *_ = list_splits(store(class_files(("train", "car"))))
    assert test is None and set(train.classes.values()) == {"train", "car"}


def test_an_image_in_no_folder_is_named(store):
    with pytest.raises(StudyError, match=r"stray\.png lies in no class folder"):
        list_images(store(class_files() | {"stray.png": png()}))


def test_nothing_to_see_says_so(store):
    with pytest.raises(StudyError, match="holds no images"):
        list_images(store({"cat/notes.txt": b""}))


def test_no_such_source(tmp_path):
    with pytest.raises(StudyError, match="no such folder, tar or zip"):
        list_images(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a complete tar archive"),
        (b"PK\x03\x04 a zip", "not a complete zip archive"),
        (b"x" * 2000, "not a complete tar archive"),
    ],
)
def test_a_file_that_is_no_tar_says_so(tmp_path, content, message):
    path = tmp_path / "images.tar"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=rf"images\.tar: {message}"):
        list_images(str(path))


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_tar_cut_short_says_so(tmp_path, kind):
    path = write_tar(tmp_path / f"images.{kind}", class_files(count=60), mode="w:" + kind.partition(".")[2])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StudyError, match="not a complete tar archive"):
        list_images(str(path))


def test_a_tar_broken_in_the_middle_says_so(tmp_path):
    path = write_tar(tmp_path / "images.tar", class_files())
    content = bytearray(path.read_bytes())
    content[content.index(b"dog/000.png")] ^= 1
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"not a complete tar archive \(bad checksum"):
        list_images(str(path))


def test_a_file_that_may_not_be_opened_is_empty(tmp_path):
    listing = list_images(str(write_folder(tmp_path, class_files())))
    (tmp_path / "cat/001.png").unlink()
    assert dict(listing.read(["cat/001.png", "cat/000.png"]))["cat/001.png"] == b""


def test_links_are_followed_but_not_in_circles(tmp_path):
    write_folder(tmp_path / "elsewhere", class_files())
    (tmp_path / "images").mkdir()
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).symlink_to(tmp_path / "elsewhere" / label)
    (tmp_path / "elsewhere/cat/up").symlink_to(tmp_path / "images")
    classes = list_images(str(tmp_path / "images")).classes
    assert len(classes) == 10 and set(classes.values()) == {"cat", "dog"}


def test_relative_paths_are_found_from_dvcs_temporary_runs(tmp_path, monkeypatch):
    write_folder(tmp_path / "root/images", class_files())
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert located("images") is None
    monkeypatch.setenv("DVC_ROOT", os.fspath(tmp_path / "root"))
    assert list_images("images").classes.keys() == class_files().keys()
