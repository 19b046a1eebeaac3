"""List the images of a source with their classes: one folder per class, under any prefix."""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import takewhile
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import Image

from stages.data.sources import NO_PICTURE, Source, open_source, reason_against
from stages.study.errors import StudyError
from stages.study.words import counted

# Names of folders that hold a split; for the held-out split, test/ is preferred to val/.
AROUND = r"(?:seg[_-])?(?:{})(?:[_-]?(?:set|data|images|\d{{4}}))?"
TRAIN = re.compile(AROUND.format("train|training|trn"))
HELD_OUT = [
    re.compile(AROUND.format(words))
    for words in ("test|testing|tst", "val|valid|validation", "dev|eval|evaluation|hold[_-]?out|held[_-]?out")
]
OTHER = re.compile(r"galler(?:y|ies)|quer(?:y|ies)|probes?|distractors?|(?:fold|split)[_-]?\d+")
VALIDATION = HELD_OUT[1]
ANNOTATIONS = (
    "val_annotations.txt",
    "LOC_val_solution.csv",
)  # of val/ in Tiny ImageNet and Kaggle's ImageNet

Content = bytes | Image.Image


class Listing(NamedTuple):
    """The images of one split, not yet read."""

    classes: dict[str, str]  # the class of each image, by the image's name relative to the source
    read: Callable[[Collection[str]], Iterator[tuple[str, Content]]]  # reads the named images, in any order


class Splits(NamedTuple):
    """The images of a source."""

    train: Listing
    test: Listing | None  # None: the source has no labelled held-out split
    notes: tuple[str, ...] = ()  # unused parts of the source and likely mistakes, in words
    skipped: tuple[tuple[str, int], ...] = ()  # number of skipped files by suffix and reason


def list_splits(source: str) -> Splits:
    """Return the training images of a source (train/) and its held-out images (test/, val/ and the like).

    If one of the two is missing, all images count as training images. A split without classes is not used.
    Raises StudyError as list_images does, or if folders look like splits but none is for training.
    """
    files = open_source(source)
    heads = _heads(files)
    train = next((head for head in heads if TRAIN.fullmatch(head.lower())), None)
    held = [head for words in HELD_OUT for head in heads if words.fullmatch(head.lower())]
    if train is None or not held:
        refuse_splits(heads, source=source)
        return Splits(_listing(files, files, source=source), None, likely_splits(heads), skipped(files))
    first = _listing(_under(files, heads[train]), files, source=source)
    classes, test, notes = set(first.classes.values()), None, []
    for head in [*held, *(head for head in heads if head not in (train, *held))]:
        part = _under(files, heads[head])
        labels = _classes(part, files, source=source, strict=False)
        labelled = len(set(labels.values())) > 1 or bool(classes & set(labels.values()))
        if test is None and head in held and labelled:
            test = _listing(part, files, source=source)
            continue
        why = "" if labelled else "; it has no class folders"
        notes.append(f"{counted(len(part.images), 'image')} of {head}/ not used{why}")
    return Splits(first, test, tuple(notes), skipped(files))


def list_images(source: str) -> Listing:
    """Return all images of a source.

    Raises StudyError if the source is missing or broken, an image lies in no class folder, or a class has no
    readable image.
    """
    files = open_source(source)
    return _listing(files, files, source=source)


def skipped(files: Source) -> tuple[tuple[str, int], ...]:
    """Return the number of skipped files by suffix and reason, such as `.heic: needs pillow-heif`."""
    kinds = Counter(f"{_suffix(name)}: {reason}" for name, reason in files.others.items())
    return tuple(sorted(kinds.items()))


def refuse_splits(heads: dict[str, set[str]], *, source: str) -> None:
    """Refuse folders that look like splits but would count as classes.

    heads: names of files by the first folder that is not common to all
    Raises StudyError, which names the settings for such folders.
    """
    inside = _folders_below(heads)
    for head in heads:
        others = {folder for other in heads if other != head for folder in {other, *inside[other]} - {""}}
        if (_is_split(head) or OTHER.fullmatch(head.lower())) and len(inside[head] & others) > 1:
            listed = ", ".join(f"{name}/" for name in sorted(heads)[:5])
            raise StudyError(
                f"{source}: {listed} look like splits, not classes: {head}/ has the same classes as the "
                "others; set data.source to one and data.test_source to another"
            )


def likely_splits(heads: dict[str, set[str]]) -> tuple[str, ...]:
    """Return a line if folders may be splits although their names tell nothing; classes may look alike.

    heads: names of files by the first folder that is not common to all
    Splits hold only folders, at least four fifths of which are in all of them, and are fewer than these.
    """
    inside = _folders_below(heads)
    alike, every = set.intersection(*inside.values()), set.union(*inside.values())
    classes = [folder for folder in sorted(alike) if not _is_split(folder)]
    if "" in every or len(heads) < 2 or len(classes) < len(heads) or 5 * len(alike) < 4 * len(every):
        return ()
    listed = ", ".join(f"{_class_name(head)}/" for head in [*heads][:5])
    same = ", ".join(map(_class_name, classes[:5]))
    return (
        f"{listed} look like splits, because they hold the same folders ({same}); if they are, set "
        "data.source to one and data.test_source to another",
    )


def _heads(files: Source) -> dict[str, set[str]]:
    """Return names of pictures by the first folder that is not common to all; '' for no folder."""
    heads: dict[str, set[str]] = {}
    for name, rest in _without_prefix(_pictures(files)).items():
        heads.setdefault(rest.parts[0] if len(rest.parts) > 1 else "", set()).add(name)
    return dict(sorted(heads.items()))


def _folders_below(heads: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the folders that lie in each first folder; '' for an image that lies in none of them."""
    return {head: {_folder_below(name, head) for name in names} for head, names in heads.items()}


def _folder_below(name: str, head: str) -> str:
    parts = PurePosixPath(name).parts[:-1]
    below = parts[parts.index(head) + 1 :] if head in parts else ()
    return below[0] if below else ""


def _under(files: Source, names: set[str]) -> Source:
    """Return the part of a source with these names."""
    others = {name: reason for name, reason in files.others.items() if name in names}
    return Source([name for name in files.images if name in names], others, files.read)


def _pictures(files: Source) -> list[str]:
    """Return the names of all pictures, including formats that are not read."""
    return files.images + [name for name in files.others if reason_against(name) not in NO_PICTURE]


def _listing(files: Source, whole: Source, *, source: str) -> Listing:
    """Return the images of a part of a source.

    Raises StudyError if an image lies in no class folder, or if a class has no readable image.
    """
    classes = _classes(files, whole, source=source)
    readable = {name: classes[name] for name in files.images}
    if lost := sorted(set(classes.values()) - set(readable.values())):
        kinds = Counter(
            f"{_suffix(name)} ({files.others[name]})" for name, label in classes.items() if label == lost[0]
        )
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise StudyError(
            f"{source}: {len(lost)} of {len(set(classes.values()))} classes have no readable image "
            f"({', '.join(lost[:5])}); {lost[0]} has {listed}"
        )
    return Listing(readable, files.read)


def _classes(files: Source, whole: Source, *, source: str, strict: bool = True) -> dict[str, str]:
    """Return the class of each picture, its name normalised to Unicode NFC.

    The class is the first folder that is not common to all pictures. If all folders are common, it is the
    last one, unless a file of annotations names the classes.
    strict: raise StudyError for a picture outside any folder
    """
    names = _pictures(files)
    classes = {}
    for name, rest in _without_prefix(names).items():
        folders = rest.parts[:-1] or PurePosixPath(name).parts[-2:-1]
        if not folders and strict:
            raise StudyError(f"{source}: {name} lies in no class folder; put each class into its own folder")
        classes[name] = _class_name(folders[0]) if folders else ""
    if len(set(classes.values())) == 1:
        classes |= _annotated(names, whole)
    return classes


def _class_name(folder: str) -> str:
    """Return the name of a class, in Unicode NFC; bytes of a folder's name that are not UTF-8 are escaped."""
    readable = folder.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", readable)


def _annotated(names: list[str], files: Source) -> dict[str, str]:
    """Return the classes of these images from a file of annotations of their split, if it lists them all."""
    for wanted in (name for name in files.others if PurePosixPath(name).name in ANNOTATIONS):
        if not all(_of_one_split(wanted, name) for name in names):
            continue
        content = next((content for _, content in files.read([wanted])), b"")  # empty: a link to nothing
        text = content.decode("utf-8", errors="replace")
        rows = csv.reader(io.StringIO(text, newline=""), delimiter="," if wanted.endswith(".csv") else "\t")
        try:
            lines = [row for row in rows if len(row) > 1 and row[1].strip()]
        except csv.Error:  # such as a field of more than 131,072 characters
            continue
        # The class is the first word of the second column; bounding boxes may follow it.
        labels = {PurePosixPath(line[0]).stem: line[1].split()[0] for line in lines}
        classes = {name: labels.get(PurePosixPath(name).stem) for name in names}
        if all(classes.values()):
            return {name: label for name, label in classes.items() if label}
    return {}


def _of_one_split(annotations: str, image: str) -> bool:
    """Return whether a file of annotations of validation images may list an image, by the folders of both."""
    folders = [PurePosixPath(name).parts[:-1] for name in (annotations, image)]
    shared = _shared(*folders)
    of_file, of_image = ([part for part in parts[shared:] if _is_split(part)] for parts in folders)
    return not of_file and all(VALIDATION.fullmatch(part.lower()) for part in of_image)


def _is_split(folder: str) -> bool:
    return any(words.fullmatch(folder.lower()) for words in (TRAIN, *HELD_OUT))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower() or "no suffix"


def _without_prefix(names: Collection[str]) -> dict[str, PurePosixPath]:
    """Return each name without the leading folders that all names share."""
    parts = {name: PurePosixPath(name).parts for name in names}
    folders = [path[:-1] for path in parts.values()]
    # A prefix common to the first and the last in sorted order is common to all.
    shared = _shared(min(folders), max(folders))
    return {name: PurePosixPath(*path[shared:]) for name, path in parts.items()}


def _shared(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Return the number of leading folders that two paths share."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
