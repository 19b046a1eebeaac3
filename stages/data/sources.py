"""The files of a source: a folder, a tar, a tar of tars or a zip, read in the same way."""

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Self

from stages.study.errors import StudyError

# fmt: off
SUFFIXES = frozenset((
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tga",
    ".tif", ".tiff", ".webp",
))
HEIF = (".heic", ".heif")
RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2")
# fmt: on
NO_IMAGE = "no image"
ARCHIVE = "an archive; unpack it"
# Pictures that nothing here reads; a class that has no others must not vanish.
UNREAD = {
    **dict.fromkeys(HEIF, "needs pillow-heif: `pip install '.[pictures]'`"),
    **dict.fromkeys(RAW, "raw camera file; convert it"),
    **dict.fromkeys((".svg", ".svgz"), "vector graphics; draw it as PNG"),
    **dict.fromkeys((".dcm", ".exr", ".hdr", ".jxl", ".psd"), "not a format that is read; convert it"),
    **dict.fromkeys((".7z", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"), ARCHIVE),
}
ALSO_HIDDEN = ("__MACOSX", "lost+found")


class Source(NamedTuple):
    """The files of a source by their names, none of them read yet."""

    images: list[str]  # sorted, relative to the source
    others: dict[str, str]  # files that are not read, each with the reason
    read: Callable[[Collection[str]], Iterator[tuple[str, bytes]]]  # any of the files, in any order


def located(source: str) -> Path | None:
    """Return where a source lies, or None; relative paths start from the root of the project."""
    path = Path(source).expanduser()
    # DVC's temporary runs have no copy of what Git ignores.
    places = (path, Path(os.environ.get("DVC_ROOT", ".")) / path)
    return next((place for place in places if place.exists()), None)


def open_source(source: str) -> Source:
    """List the files of a source.

    Raises StudyError if there is no such source, it is broken, a folder may not be read, or it holds no
    images.
    """
    path = located(source)
    if path is None:
        raise StudyError(f"params.yaml: {source}: no such folder, tar or zip archive")
    open_files = _folder if path.is_dir() else _zip if _starts_as_zip(path) else _tar

    def read(wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(wanted)
        if path.is_dir():
            yield from ((name, _content(path / name)) for name in sorted(wanted))
            return
        with open_files(path) as files:
            for name, content in files:
                if name in wanted:
                    yield name, content()

    with open_files(path) as files:
        names = sorted({name for name, _ in files if not _hidden(name)})
    reasons = {name: reason_against(name) for name in names}
    images = [name for name in names if not reasons[name]]
    others = {name: reason for name, reason in reasons.items() if reason}
    if not images and set(others.values()) <= {NO_IMAGE, ARCHIVE}:
        packed = [name for name, reason in others.items() if reason == ARCHIVE]
        words = f" ({' '.join(sorted(SUFFIXES))})"
        if packed:
            words = f" but archives; name one, such as {source}/{packed[0]}, or unpack them"
        raise StudyError(f"{source}: holds no images{words}")
    return Source(images, others, read)


def reason_against(name: str) -> str:
    """Return why a file of this name is not read; nothing if it is an image."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SUFFIXES or (suffix in HEIF and find_spec("pillow_heif")):
        return ""
    return UNREAD.get(suffix, NO_IMAGE)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part in ALSO_HIDDEN for part in PurePosixPath(name).parts)


Files = Iterator[tuple[str, Callable[[], bytes]]]  # the name of each file, and what reads it before the next


@contextmanager
def _folder(root: Path) -> Iterator[Files]:
    yield _walk(root)


def _walk(root: Path) -> Files:
    def refuse(error: OSError) -> None:
        if "lost+found" not in Path(error.filename).parts:
            raise StudyError(f"{error.filename}: {error.strerror}; allow it to be read, or move it elsewhere")

    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=refuse):
        if os.path.realpath(folder) in seen:  # a link that leads back up
            subfolders.clear()
            continue
        seen.add(os.path.realpath(folder))
        subfolders.sort()
        for file in sorted(files):
            path = Path(folder) / file
            yield path.relative_to(root).as_posix(), lambda path=path: _content(path)  # type: ignore[misc]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # no right to read it, a dead link
        return b""


def _starts_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


@contextmanager
def _zip(path: Path) -> Iterator[Files]:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.flag_bits & 1 for member in archive.infolist()):
                raise StudyError(f"{path}: has a password; unpack it")
            yield _zip_members(archive)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError, NotImplementedError) as error:
        raise StudyError(f"{path}: not a whole zip archive: {_line(error)}") from None


def _zip_members(archive: zipfile.ZipFile) -> Files:
    for member in archive.infolist():
        if not member.is_dir():
            # Some packers of Windows separate folders with a backslash.
            name = member.filename.replace("\\", "/") if member.create_system == 0 else member.filename
            yield PurePosixPath(name).as_posix(), lambda member=member: archive.read(member)  # type: ignore[misc]


@contextmanager
def _tar(path: Path) -> Iterator[Files]:
    try:
        with tarfile.open(path, tarinfo=_Member) as archive:
            yield _tar_members(archive, prefix="")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise StudyError(f"{path}: not a whole tar archive: {_line(error)}") from None


def _tar_members(archive: tarfile.TarFile, *, prefix: str) -> Files:
    """Give the files of a tar; a tar inside it is a folder of its name, as in ILSVRC's training images."""
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # else it keeps the header of every file
        name = prefix + PurePosixPath(member.name).as_posix()
        if not member.isreg():
            continue
        if name.lower().endswith(".tar") and not _hidden(name):
            with tarfile.open(fileobj=_opened(archive, member), mode="r|", tarinfo=_Member) as inner:
                yield from _tar_members(inner, prefix=f"{name[:-4]}/")
            continue
        yield name, lambda member=member: _opened(archive, member).read()  # type: ignore[misc]


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None  # of a regular member
    return file


class _Member(tarfile.TarInfo):
    """A member of a tar; where there is neither one nor the mark of the end, the tar is broken."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            # Here tarfile would end without a word.
            raise tarfile.ReadError(str(error)) from None


def _line(error: BaseException) -> str:
    """Return the first line of an error; tarfile lists what it tried in the others."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
