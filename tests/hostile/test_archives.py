"""Archives and folders that want out, that have no end, or that unfold to more than a disk holds."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from stages.data.decode import decode
from stages.data.deep import Unreadable
from stages.data.listings import list_images, list_splits
from stages.data.sources import open_source
from stages.study.errors import StudyError, printable
from tests.data.pictures import class_files, png, write_folder, write_tar

OUTSIDE = ("../../outside/a.png", "/tmp/outside/b.png", "C:\\outside\\c.png", "cat/../../d.png")


def content_of(source, name):
    """The content of one file of a source."""
    return dict(open_source(str(source)).read([name]))[name]


def add(archive, name, *, kind=tarfile.REGTYPE, link="", content=b"", size=None):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    member.size = len(content) if size is None else size
    archive.addfile(member, io.BytesIO(content) if content else None)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_outside_their_folder_are_written_nowhere(tmp_path, monkeypatch, kind):
    files = class_files(count=2) | {name: png(9) for name in OUTSIDE}
    (tmp_path / "inside/deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "inside/deeper")
    path = Path(f"images.{kind}")
    if kind == "tar":
        write_tar(path, files)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content)
    before = sorted(tmp_path.rglob("*"))
    source = open_source(f"{path}")
    assert len(dict(source.read(source.images))) == len(source.images) >= 4
    assert sorted(tmp_path.rglob("*")) == before and not Path("/tmp/outside").exists()


def test_links_pipes_and_devices_in_a_tar_are_no_images(tmp_path):
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in class_files(count=2).items():
            add(archive, name, content=content)
        add(archive, "cat/passwd.png", kind=tarfile.SYMTYPE, link="/etc/passwd")
        add(archive, "cat/shadow.png", kind=tarfile.LNKTYPE, link="../../../etc/shadow")
        add(archive, "cat/pipe.png", kind=tarfile.FIFOTYPE)
        add(archive, "cat/zero.png", kind=tarfile.CHRTYPE)
    assert len(list_images(f"{path}").classes) == 4


def test_a_link_in_a_zip_is_read_as_what_the_zip_holds(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("cat/passwd.png")
        member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
        for name, content in class_files(count=2).items():
            archive.writestr(name, content)
    assert content_of(path, "cat/passwd.png") == b"/etc/passwd"


def test_a_pipe_and_a_device_in_a_folder_do_not_hang(tmp_path):
    write_folder(tmp_path / "images", class_files(count=2))
    os.mkfifo(tmp_path / "images/cat/pipe.png")
    (tmp_path / "images/cat/zero.png").symlink_to("/dev/zero")
    (tmp_path / "images/cat/itself.png").symlink_to("itself.png")
    for name in ("pipe", "zero", "itself"):
        assert content_of(tmp_path / "images", f"cat/{name}.png") == b""
    for place in (tmp_path / "images/cat/pipe.png", Path("/dev/zero")):
        with pytest.raises(StudyError, match="no such folder, tar or zip archive"):
            open_source(f"{place}")


def test_files_that_unfold_without_end_are_not_read(tmp_path):
    """A tar that declares 10 TB, a zip that declares 4 GB, and a hole of 1 TB on the disk."""
    write_folder(tmp_path / "images", class_files(count=2))
    with (tmp_path / "images/cat/hole.png").open("wb") as file:
        file.truncate(10**12)
    with tarfile.open(tmp_path / "bomb.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in class_files(count=2).items():
            add(archive, name, content=content)
        member = tarfile.TarInfo("cat/hole.png")
        holes = {"GNU.sparse.map": "0,1", "GNU.sparse.numblocks": "1", "GNU.sparse.size": f"{10**13}"}
        member.pax_headers, member.size = holes, 1
        archive.addfile(member, io.BytesIO(b"x"))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as archive:
        for name, content in class_files(count=2).items():
            archive.writestr(name, content)
        archive.writestr("cat/hole.png", b"x")
    content = (tmp_path / "bomb.zip").read_bytes()
    entry = content.rindex(b"PK\x01\x02")  # the size, in the entry of the last member
    content = content[: entry + 24] + (2**32 - 2).to_bytes(4, "little") + content[entry + 28 :]
    (tmp_path / "bomb.zip").write_bytes(content)
    for source in ("images", "bomb.tar", "bomb.zip"):
        assert content_of(tmp_path / source, "cat/hole.png") == b""
        assert len(content_of(tmp_path / source, "cat/000.png")) > 100
    with pytest.raises(Unreadable, match="larger than"):
        decode(b"", image_size=8)


def test_a_hundred_tars_in_each_other_are_one_archive(tmp_path):
    content = png(1)
    name = "cat/a.png"
    for depth in range(100):
        inner = tmp_path / f"{depth}.tar"
        write_tar(inner, {name: content})
        content, name = inner.read_bytes(), "deeper.tar"
        inner.unlink()
    files = class_files(count=2) | {"deeper.tar": content}
    source = open_source(f"{write_tar(tmp_path / 'images.tar', files)}")
    assert len(source.images) == 4 and list(source.others.values()) == ["an archive; unpack it"]


def test_a_header_of_more_colours_than_memory_is_unreadable():
    import numpy as np
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((4, 4, 3), np.uint16), photometric="rgb")
    content = bytearray(file.getvalue())
    for old, new in (((256, 4), (256, 16000)), ((257, 4), (257, 16000)), ((277, 3), (277, 60000))):
        tag = int(old[0]).to_bytes(2, "little")
        for kind in (3, 4):  # short or long
            whole = tag + kind.to_bytes(2, "little") + (1).to_bytes(4, "little")
            if (start := content.find(whole)) >= 0:
                content[start + 8 : start + 12] = new[1].to_bytes(4, "little")
    with pytest.raises(Unreadable):
        decode(bytes(content), image_size=8)


HOSTILE = (
    "<script>alert(1)<|script>",
    "$(touch owned)",
    "`id`; rm -rf x",
    "\u202egnp.exe",
    "a\nb: refused",
    "\x1b[31mred",
    "=cmd()",
    "-rf",
    "CON",
    "名前 😀",
)


def test_classes_of_any_name_stay_apart_and_change_no_line(tmp_path):
    write_folder(tmp_path / "images", class_files(classes=HOSTILE, count=2))
    classes = set(list_images(f"{tmp_path}/images").classes.values())
    assert classes == set(HOSTILE)
    line = printable(f"classes: {', '.join(sorted(classes))}")
    assert line.isprintable() and r"\u202e" in line and r"\n" in line and r"\x1b" in line


def test_a_folder_whose_name_is_not_utf8_has_a_class_that_can_be_written(tmp_path):
    write_folder(tmp_path / "images", class_files(count=2))
    os.rename(tmp_path / "images/cat", os.fsencode(tmp_path / "images") + b"/caf\xe9")
    classes = set(list_images(f"{tmp_path}/images").classes.values())
    assert classes == {"caf\\xe9", "dog"}
    "".join(classes).encode()


@pytest.mark.parametrize("rows", ["a.png\t \n", "a.png\t" + "x" * 200_000 + "\n", "a.png,b\rb.png", '"\0\n"'])
def test_annotations_of_anything_are_read_or_ignored(tmp_path, rows):
    files = class_files(prefix="train/", count=2) | {f"val/images/{n}.png": png(n) for n in range(3)}
    files |= {"val/val_annotations.txt": rows.encode(), "val/LOC_val_solution.csv": rows.encode()}
    splits = list_splits(f"{write_folder(tmp_path / 'images', files)}")
    assert splits.test is None and "it has no class folders" in " ".join(splits.notes)
