"""The files of weights at a path, and what a file is that is often taken for weights; without torch."""

import json
import zipfile
from pathlib import Path

from stages.study.errors import StudyError

# In a folder as the Hub distributes it, the first of these that is there.
FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# They stand beside a file and say how it is read.
BESIDE = ("config.json", "preprocessor_config.json")


def weights_file(path: Path) -> Path:
    """Return the file of weights at a path: the path itself, or in a folder of the Hub the one it has.

    Raises StudyError if there is none.
    """
    if path.is_dir():
        inside = [path / name for name in FILES if (path / name).is_file()]
        if not inside:
            raise StudyError(f"{path}: a folder with no {', '.join(FILES)}; name the file of weights")
        return inside[0]
    if not path.is_file():
        raise StudyError(f"{path}: no such file")
    return path


def weights_files(path: Path) -> list[Path]:
    """Return all files that hold the weights at a path: one, or an index and its shards.

    Raises StudyError if there is none or the index is broken.
    """
    path = weights_file(path)
    if not path.name.endswith(".index.json"):
        return [path]
    return [path, *(path.with_name(name) for name in sorted(set(shards_of(path).values())))]


def refuse_other_kinds(path: Path) -> None:
    """Refuse a file that is often taken for weights, by what it is.

    Raises StudyError with the way out.
    """
    with path.open("rb") as file:
        start = file.read(512)
    text = start.lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise StudyError(f"{path}: a pointer of Git LFS, not the weights; fetch them with `git lfs pull`")
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise StudyError(
            f"{path}: a web page, not weights; the download was answered with a page, as drives and log-ins "
            "do: download the file again in a browser"
        )
    if start.startswith(b"\x89HDF"):
        raise StudyError(
            f"{path}: a file of TensorFlow or Keras; only files of torch and safetensors are read"
        )
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        raise StudyError(f"{path}: compressed; unpack it and name the file inside")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise StudyError(
                f"{path}: a program of torch.jit, which would run; load it where you trust it and save its "
                "state_dict() with torch.save"
            )
        if names and all(name.endswith(".npy") for name in names):
            raise StudyError(
                f"{path}: arrays of numpy, as JAX saves them; timm reads them: save its state_dict()"
            )
        if not any(name.endswith("data.pkl") for name in names):
            raise StudyError(f"{path}: a zip archive; unpack it and name the file inside")


def shards_of(index: Path, *, complete: bool = True) -> dict[str, str]:
    """Return the file of each tensor that an index names.

    complete: whether the files must be there
    Raises StudyError if the index is broken, leads out of its folder, or a file is missing.
    """
    try:
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {f"{name}": f"{file}" for name, file in shards.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise StudyError(f"{index}: not an index of sharded weights") from None
    for file in files.values():
        if Path(file).name != file or file.endswith(".index.json"):
            raise StudyError(f"{index}: names {file!r}, which is no file beside it")
        if complete and not index.with_name(file).is_file():
            raise StudyError(f"{index.with_name(file)}: no such file, and {index.name} needs it")
    return files
