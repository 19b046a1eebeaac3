"""What images a source holds, and of which class: one folder per class, under whatever prefix."""

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

from stages.data.sources import ARCHIVE, NO_IMAGE, Source, open_source
from stages.study.errors import StudyError

# Folders that hold a split, in the order in which the held-out one is chosen: test/ before val/.
AROUND = r"(?:seg[_-])?(?:{})(?:[_-]?(?:set|data|images|\d{{4}}))?"
TRAIN = re.compile(AROUND.format("train|training|trn"))
HELD_OUT = [
    re.compile(AROUND.format(words))
    for words in ("test|testing|tst", "val|valid|validation", "dev|eval|evaluation|hold[_-]?out|held[_-]?out")
]
ANNOTATIONS = ("val_annotations.txt", "LOC_val_solution.csv")  # of Tiny ImageNet, of Kaggle's ImageNet

Content = bytes | Image.Image


class Listing(NamedTuple):
    """The images of one split, none of them read yet."""

    classes: dict[str, str]  # the class of each image, by its name relative to the source
    read: Callable[[Collection[str]], Iterator[tuple[str, Content]]]  # those of the names, in any order


class Splits(NamedTuple):
    """The images of a source."""

    train: Listing
    test: Listing | None  # None: the source has no labelled images to hold out
    notes: tuple[str, ...] = ()  # what the source has and nobody uses, in words
    skipped: tuple[tuple[str, int], ...] = ()  # how many files are not read, by suffix and reason


def list_splits(source: str) -> Splits:
    """Return the images of a source under train/, and those under test/, val/ and the like.

    Unless it has both, all images are of the first listing. A split without classes is not used.
    Raises StudyError as list_images does, or if folders look like splits of which none is for training.
    """
    files = open_source(source)
    heads = _heads(files)
    train = next((head for head in heads if TRAIN.fullmatch(head.lower())), None)
    held = [head for words in HELD_OUT for head in heads if words.fullmatch(head.lower())]
    if train is None or not held:
        refuse_splits(heads, source=source)
        return Splits(_listing(files, files, source=source), None, (), skipped(files))
    first = _listing(_under(files, heads[train]), files, source=source)
    known, test, notes = set(first.classes.values()), None, []
    for head in [*held, *(head for head in heads if head not in (train, *held))]:
        part = _under(files, heads[head])
        labels = _classes(part, files, source=source, strict=False)
        labelled = len(set(labels.values())) > 1 or bool(known & set(labels.values()))
        if test is None and head in held and labelled:
            test = _listing(part, files, source=source)
            continue
        why = "" if labelled else ", which are in no folders of classes"
        notes.append(f"{len(part.images)} images of {head}/ are not used{why}")
    return Splits(first, test, tuple(notes), skipped(files))


def list_images(source: str) -> Listing:
    """Return all images of a source.

    Raises StudyError if there is no such source, it is broken, an image is in no folder of a class, or no
    image of a class can be read.
    """
    files = open_source(source)
    return _listing(files, files, source=source)


def skipped(files: Source) -> tuple[tuple[str, int], ...]:
    """Return how many files are not read, by suffix and reason, such as `.heic: needs pillow-heif`."""
    kinds = Counter(f"{_suffix(name)}: {reason}" for name, reason in files.others.items())
    return tuple(sorted(kinds.items()))


def refuse_splits(heads: dict[str, set[str]], *, source: str) -> None:
    """Refuse folders that look like splits, where they would count as classes.

    heads: names of files by the first folder that not all share
    Raises StudyError with the settings that name them.
    """
    inside = {head: {_folder_below(name, head) for name in names} - {""} for head, names in heads.items()}
    for head in heads:
        others = {folder for other in heads if other != head for folder in {other, *inside[other]}}
        named = any(words.fullmatch(head.lower()) for words in (TRAIN, *HELD_OUT))
        if named and len(inside[head] & others) > 1:
            listed = ", ".join(f"{name}/" for name in sorted(heads)[:5])
            raise StudyError(
                f"{source}: {listed} look like splits, not classes: {head}/ has the classes of the others; "
                "name one in data.source and one in data.test_source"
            )


def _heads(files: Source) -> dict[str, set[str]]:
    """Return names of pictures by the first folder that not all share; of no folder: by ''."""
    heads: dict[str, set[str]] = {}
    for name, rest in _without_prefix(_pictures(files)).items():
        heads.setdefault(rest.parts[0] if len(rest.parts) > 1 else "", set()).add(name)
    return dict(sorted(heads.items()))


def _folder_below(name: str, head: str) -> str:
    parts = PurePosixPath(name).parts[:-1]
    below = parts[parts.index(head) + 1 :] if head in parts else ()
    return below[0] if below else ""


def _under(files: Source, names: set[str]) -> Source:
    """Return the part of a source that has these names."""
    others = {name: reason for name, reason in files.others.items() if name in names}
    return Source([name for name in files.images if name in names], others, files.read)


def _pictures(files: Source) -> list[str]:
    """Return the names of all pictures, of those too that nothing reads."""
    return files.images + [name for name, why in files.others.items() if why not in (NO_IMAGE, ARCHIVE)]


def _listing(files: Source, whole: Source, *, source: str) -> Listing:
    """Return the images of a part of a source.

    Raises StudyError if an image is in no folder of a class, or a class has no image that is read.
    """
    classes = _classes(files, whole, source=source)
    kept = {name: classes[name] for name in files.images}
    if lost := sorted(set(classes.values()) - set(kept.values())):
        kinds = Counter(
            f"{_suffix(name)} ({files.others[name]})" for name, label in classes.items() if label == lost[0]
        )
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise StudyError(
            f"{source}: {len(lost)} of {len(set(classes.values()))} classes have no image that can be read: "
            f"{', '.join(lost[:5])}; {lost[0]} has {listed}"
        )
    return Listing(kept, files.read)


def _classes(files: Source, whole: Source, *, source: str, strict: bool = True) -> dict[str, str]:
    """Return the class of each picture, its name in Unicode's NFC.

    That is the first folder that not all share, or if they share all, the last; what a file of annotations
    says about a split without folders comes first.
    strict: raise StudyError for a picture in no folder
    """
    names = _pictures(files)
    classes = {}
    for name, rest in _without_prefix(names).items():
        folders = rest.parts[:-1] or PurePosixPath(name).parts[-2:-1]
        if not folders and strict:
            raise StudyError(f"{source}: {name} lies in no folder of a class; one folder per class is needed")
        classes[name] = unicodedata.normalize("NFC", folders[0]) if folders else ""
    if len(set(classes.values())) == 1:
        classes |= _annotated(names, whole)
    return classes


def _annotated(names: list[str], files: Source) -> dict[str, str]:
    """Return the classes that a file of annotations gives these images, if it knows them all."""
    for wanted in (name for name in files.others if PurePosixPath(name).name in ANNOTATIONS):
        text = next(content for _, content in files.read([wanted])).decode("utf-8", errors="replace")
        lines = csv.reader(io.StringIO(text), delimiter="," if wanted.endswith(".csv") else "\t")
        # The class is the first word of the second column, in which boxes may follow.
        labels = {PurePosixPath(line[0]).stem: line[1].split()[0] for line in lines if len(line) > 1}
        found = {name: labels.get(PurePosixPath(name).stem) for name in names}
        if all(found.values()):
            return {name: label for name, label in found.items() if label}
    return {}


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower() or "no suffix"


def _without_prefix(names: Collection[str]) -> dict[str, PurePosixPath]:
    """Return each name without the folders that all of them share."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    # What the first and the last have in common, all between them have.
    pairs = zip(min(folders), max(folders), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return {name: PurePosixPath(*PurePosixPath(name).parts[shared:]) for name in names}
