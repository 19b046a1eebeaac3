"""What images a folder or tar holds, and of which class: one folder per class, under whatever prefix."""

import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self

from PIL import Image

from stages.study.errors import StudyError

# fmt: off
SUFFIXES = frozenset((
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tga",
    ".tif", ".tiff", ".webp",
))
# fmt: on
HELD_OUT = ("test", "val", "validation")  # folders that may lie beside train/; the first that is there counts

Content = bytes | Image.Image


class Listing(NamedTuple):
    """The images of one split, none of them read yet."""

    classes: dict[str, str]  # the class of each image, by its name relative to the source
    read: Callable[[Collection[str]], Iterator[tuple[str, Content]]]  # those of the names, in any order


def list_splits(source: str) -> tuple[Listing, Listing | None]:
    """The images of a folder or tar under train/, and those under test/, val/ or validation/.

    Unless it has both, all images are of the first listing, and there is no second.
    Raises StudyError as list_images does.
    """
    names, read = open_source(source)
    rests = _without_prefix(names)
    heads = {name: rest.parts[0].lower() for name, rest in rests.items()}
    second = next((head for head in HELD_OUT if head in heads.values()), None)
    if second is None or "train" not in heads.values():
        return Listing(_classes(names, source), read), None
    first, other = ([name for name in names if heads[name] == head] for head in ("train", second))
    return Listing(_classes(first, source), read), Listing(_classes(other, source), read)


def list_images(source: str) -> Listing:
    """All images of a folder or tar.

    Raises StudyError if there is no such folder or tar, it is broken, or an image is in no folder of a class.
    """
    names, read = open_source(source)
    return Listing(_classes(names, source), read)


def located(source: str) -> Path | None:
    """Where a source lies, or None; relative paths start from the root of the project."""
    path = Path(source).expanduser()
    # DVC's temporary runs have no copy of what Git ignores.
    places = (path, Path(os.environ.get("DVC_ROOT", ".")) / path)
    return next((place for place in places if place.exists()), None)


def open_source(source: str) -> tuple[list[str], Callable[[Collection[str]], Iterator[tuple[str, bytes]]]]:
    """The names of the image files of a folder or tar, and what reads those of the names that it is given.

    Raises StudyError if there is no such folder or tar, it is broken, or holds none.
    """
    path = located(source)
    if path is None:
        raise StudyError(f"params.yaml: {source}: no such folder or tar archive")
    if path.is_dir():
        names = sorted(_walk(path))
    else:
        with _tar(path) as archive:
            names = sorted({name for name, _ in _members(archive)})
    if not names:
        raise StudyError(f"{source}: holds no images ({' '.join(sorted(SUFFIXES))})")

    def read(wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        return _read_folder(path, wanted) if path.is_dir() else _read_tar(path, wanted)

    return names, read


def _walk(root: Path) -> Iterator[str]:
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in seen:  # a link that leads back up
            subfolders.clear()
            continue
        seen.add(os.path.realpath(folder))
        for file in files:
            name = (Path(folder) / file).relative_to(root).as_posix()
            if _is_image(name):
                yield name


def _read_folder(root: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    for name in sorted(wanted):
        try:
            yield name, (root / name).read_bytes()
        except OSError:  # no right to read it, a dead link
            yield name, b""


def _read_tar(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    wanted = set(wanted)
    with _tar(path) as archive:
        for name, member in _members(archive):
            if name in wanted and (file := archive.extractfile(member)):
                yield name, file.read()


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # else it keeps the header of every file
        name = PurePosixPath(member.name).as_posix()
        if member.isreg() and _is_image(name):
            yield name, member


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


@contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, tarinfo=_Member) as archive:
            yield archive
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise StudyError(f"{path}: not a whole tar archive: {error}") from None


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _without_prefix(names: list[str]) -> dict[str, PurePosixPath]:
    """Each name without the folders that all of them share."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    # What the first and the last have in common, all between them have.
    pairs = zip(min(folders), max(folders), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return {name: PurePosixPath(*PurePosixPath(name).parts[shared:]) for name in names}


def _classes(names: list[str], source: str) -> dict[str, str]:
    """The class of each name: the first folder that not all share, or if they share all, the last."""
    classes = {}
    for name, rest in _without_prefix(names).items():
        folders = rest.parts[:-1] or PurePosixPath(name).parts[-2:-1]
        if not folders:
            raise StudyError(f"{source}: {name} lies in no folder of a class; one folder per class is needed")
        classes[name] = folders[0]
    return classes
