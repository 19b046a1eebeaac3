"""Write results of trainings into tar files of limited size, and read them back into the store."""

import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.study.errors import StudyError
from stages.study.paths import writing
from stages.study.store import Training, is_whole

BLOCK = 512  # bytes; a tar stores a header of one block and whole blocks for each file
END = 20 * BLOCK  # bytes; the length of a tar is a multiple of this


def pack(trainings: Mapping[str, Sequence[Training]], folder: Path, *, most: int | None) -> list[Path]:
    """Write the results of trainings as tar files; return their paths.

    trainings: finished trainings by arm
    most:      bytes of the largest file, which holds as many arms as fit; None: one file for each arm
    Raises StudyError if an arm does not fit into a file.
    """
    sizes = {arm: sum(tar_bytes(each.result) for each in several) for arm, several in trainings.items()}
    paths = []
    for arms in shared_files(sizes, most=most):
        paths.append(folder / f"{'-'.join(arms)}.tar")
        with writing(paths[-1]) as temporary, tarfile.open(temporary, "w") as archive:
            archive.format = tarfile.GNU_FORMAT  # the default adds blocks for fractions of a second
            for training in (training for arm in arms for training in trainings[arm]):
                archive.add(training.result, arcname=training.fingerprint)
    return paths


def shared_files(sizes: Mapping[str, int], *, most: int | None) -> list[list[str]]:
    """Divide arms over files, in order, so that no file exceeds `most` bytes. sizes: bytes of each arm

    Raises StudyError if an arm does not fit into a file.
    """
    files: list[list[str]] = []
    room = 0
    for arm, size in sizes.items():
        if most is not None and size + END > most:
            raise StudyError(
                f"arm {arm} needs {size / 2**20:.1f} MiB, more than one file may have; raise --size"
            )
        if most is None or size > room:
            files.append([])
            room = (most or 0) - END
        files[-1].append(arm)
        room -= size
    return files


def tar_bytes(folder: Path) -> int:
    """Return the bytes that a folder takes in a tar file, without the end of the file."""
    paths = [folder, *folder.rglob("*")]
    return sum(BLOCK + (-(-path.stat().st_size // BLOCK) * BLOCK if path.is_file() else 0) for path in paths)


def unpack(path: Path) -> list[Training]:
    """Put the trainings of a tar file into the store, each whole or not at all; return all that it holds.

    Raises StudyError if the file or one of its trainings is damaged.
    """
    trainings = []
    with tempfile.TemporaryDirectory() as temporary:
        try:
            with tarfile.open(path, "r:") as archive:
                # As an attribute, because Python before 3.11.4 does not know the argument.
                archive.extraction_filter = getattr(tarfile, "data_filter", None)
                archive.extractall(temporary)
        except (tarfile.TarError, EOFError) as error:
            raise StudyError(f"{path}: not a complete tar file ({error}); copy it again") from None
        for result in sorted(Path(temporary).iterdir()):
            if not is_whole(result, result.name):
                raise StudyError(f"{path}: {result.name} is not a complete training; copy the file again")
            trainings.append(Training(result.name))
            if not trainings[-1].ended():
                trainings[-1].adopt(result)
    return trainings
