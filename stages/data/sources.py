"""Read the files of a source: a folder, a tar, a tar of tars or a zip."""

import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
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
NO_PICTURE = (NO_IMAGE, ARCHIVE)
LINK = "a link to a folder or out of the archive; pack it with `tar --dereference`"
# Formats that are not read. They are listed, so that a class with no other files is reported.
UNREAD = {
    **dict.fromkeys(HEIF, "needs pillow-heif: `pip install '.[pictures]'`"),
    **dict.fromkeys(RAW, "raw camera file; convert it"),
    **dict.fromkeys((".svg", ".svgz"), "vector graphics; convert it to PNG"),
    **dict.fromkeys((".dcm", ".exr", ".hdr", ".jxl", ".psd"), "unsupported format; convert it"),
    **dict.fromkeys((".7z", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"), ARCHIVE),
}
ALSO_HIDDEN = ("__MACOSX", "lost+found")
LARGEST = 2**29  # bytes of one file; an archive can declare any size for a few compressed bytes
DEEPEST = 3  # tars within a tar


class Source(NamedTuple):
    """The names of the files of a source, and a function that reads them."""

    images: list[str]  # sorted, relative to the source
    others: dict[str, str]  # skipped files, each with the reason
    read: Callable[[Collection[str]], Iterator[tuple[str, bytes]]]  # reads the named files, in any order


def located(source: str) -> Path | None:
    """Return the path of a source, or None if there is none; relative paths start at the project's root."""
    path = Path(os.path.expanduser(source))  # Path.expanduser would raise for an unknown user
    # DVC's temporary runs lack the files that Git ignores.
    places = (path, Path(os.environ.get("DVC_ROOT", ".")) / path)
    return next((place for place in places if place.exists()), None)


def open_source(source: str) -> Source:
    """List the files of a source.

    Raises StudyError if the source is missing, broken, not permitted to be read, or without images.
    """
    path = located(source)
    if path is None or not (path.is_dir() or path.is_file()):  # a device or a pipe has no end
        raise StudyError(f"params.yaml: {source}: no such folder, tar or zip archive")
    open_files = _folder if path.is_dir() else _zip if _starts_as_zip(path) else _tar

    with open_files(path) as files:
        listed = [(file.name, file.link) for file in files]
    stored = {name for name, link in listed if link is None}
    links = {name: link for name, link in listed if link is not None and name not in stored}
    targets = {name: _target(name, links) for name in links}

    def read(wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        if path.is_dir():
            yield from ((name, content_of(path / name)) for name in sorted(set(wanted)))
            return
        names: dict[str, list[str]] = {}  # wanted names of each stored file
        for name in sorted(set(wanted)):
            names.setdefault(targets.get(name, name), []).append(name)
        with open_files(path) as files:
            for file in files:
                if file.name in names and file.link is None:
                    content = file.content()
                    yield from ((name, content) for name in names[file.name])

    reasons = {
        name: reason_against(name) if targets.get(name, name) in stored else LINK
        for name in sorted(stored | links.keys())
        if not _hidden(name)
    }
    images = [name for name, reason in reasons.items() if not reason]
    others = {name: reason for name, reason in reasons.items() if reason}
    if not images and all(reason_against(name) in NO_PICTURE for name in others):
        raise StudyError(f"{source}: holds no images{_instead(others, source=source)}")
    return Source(images, others, read)


def _target(name: str, links: Mapping[str, str]) -> str:
    """Return the name behind a link, through links to links; that of a link if they form a circle."""
    passed = set()
    while name in links and name not in passed:
        passed.add(name)
        name = links[name]
    return name


def _instead(others: Mapping[str, str], *, source: str) -> str:
    """Return what a source without images holds, in words, or else which files count as images."""
    for name, reason in others.items():
        if reason == ARCHIVE:
            return f", only archives; name one, such as {source}/{name}, or unpack them"
    for name, reason in others.items():
        if reason == LINK:
            return f"; {name} is {LINK}"
    return f" ({' '.join(sorted(SUFFIXES))})"


def reason_against(name: str) -> str:
    """Return why a file with this name is skipped; empty if it is an image."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SUFFIXES or (suffix in HEIF and find_spec("pillow_heif")):
        return ""
    return UNREAD.get(suffix, NO_IMAGE)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part in ALSO_HIDDEN for part in PurePosixPath(name).parts)


class File(NamedTuple):
    """A file of a source, or a link in a tar."""

    name: str
    content: Callable[[], bytes]  # call it at once
    link: str | None = None  # name of the file that a link stands for; it may be missing


Files = Iterator[File]


@contextmanager
def _folder(root: Path) -> Iterator[Files]:
    yield _walk(root)


def _walk(root: Path) -> Files:
    def refuse(error: OSError) -> None:
        if "lost+found" not in Path(error.filename).parts:
            raise StudyError(f"{error.filename}: {error.strerror}; make it readable, or move it elsewhere")

    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=refuse):
        if os.path.realpath(folder) in seen:  # a link to a folder that was already read
            subfolders.clear()
            continue
        seen.add(os.path.realpath(folder))
        subfolders.sort()
        inside = Path(folder).relative_to(root).as_posix()
        for file in sorted(files):
            name = file if inside == "." else f"{inside}/{file}"
            yield File(name, lambda name=name: content_of(root / name))  # type: ignore[misc]


def content_of(path: Path) -> bytes:
    """Return the content of a file; nothing if it may not be read, or is a pipe, a device or too large."""
    try:
        about = path.stat()
        return path.read_bytes() if stat.S_ISREG(about.st_mode) and about.st_size <= LARGEST else b""
    except OSError:  # no permission, or a broken link
        return b""


def _starts_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


@contextmanager
def _zip(path: Path) -> Iterator[Files]:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.flag_bits & 1 for member in archive.infolist()):
                raise StudyError(f"{path}: needs a password; unpack it and name the folder")
            yield _zip_members(archive)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError, NotImplementedError) as error:
        raise StudyError(f"{path}: not a complete zip archive ({_line(error)}); copy it again") from None


def _zip_members(archive: zipfile.ZipFile) -> Files:
    for member in archive.infolist():
        if not member.is_dir():
            # Some Windows tools separate folders with backslashes.
            name = member.filename.replace("\\", "/") if member.create_system == 0 else member.filename
            yield File(
                PurePosixPath(name).as_posix(),
                lambda member=member: (  # type: ignore[misc]
                    archive.read(member) if member.file_size <= LARGEST else b""
                ),
            )


@contextmanager
def _tar(path: Path) -> Iterator[Files]:
    try:
        with tarfile.open(path, tarinfo=_Member) as archive:
            yield _tar_members(archive, prefix="")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise StudyError(f"{path}: not a complete tar archive ({_line(error)}); copy it again") from None


def _tar_members(archive: tarfile.TarFile, *, prefix: str, depth: int = 0) -> Files:
    """Yield the files of a tar; an inner tar counts as a folder of its name, as in ILSVRC's training set."""
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # otherwise it stores the header of every file
        name = prefix + PurePosixPath(member.name).as_posix()
        if member.islnk() or member.issym():
            yield File(name, bytes, prefix + _named_by(member))
        if not member.isreg():
            continue
        if name.lower().endswith(".tar") and not _hidden(name) and depth < DEEPEST:
            with tarfile.open(fileobj=_opened(archive, member), mode="r|", tarinfo=_Member) as inner:
                yield from _tar_members(inner, prefix=f"{name[:-4]}/", depth=depth + 1)
            continue
        yield File(
            name,
            lambda member=member: (  # type: ignore[misc]
                _opened(archive, member).read() if member.size <= LARGEST else b""
            ),
        )


def _named_by(link: tarfile.TarInfo) -> str:
    """Return the name of a link's target; hard links start at the top of the tar, others at themselves."""
    if link.islnk():
        return PurePosixPath(link.linkname).as_posix()
    return posixpath.normpath(posixpath.join(posixpath.dirname(link.name), link.linkname))


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None  # of a regular member
    return file


class _Member(tarfile.TarInfo):
    """A member of a tar that reports a broken header as an error, not as the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            # tarfile would stop silently here.
            raise tarfile.ReadError(str(error)) from None


def _line(error: BaseException) -> str:
    """Return the first line of an error; tarfile's other lines list the formats that it tried."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
