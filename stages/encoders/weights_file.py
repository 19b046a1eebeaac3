"""Find the weights files at a path, and refuse files that are often mistaken for weights; needs no torch."""

import json
import zipfile
from pathlib import Path

from stages.study.errors import StudyError

# Weights files in a folder from the Hub, in order of preference.
FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# Configuration files beside the weights, which affect how they are read.
BESIDE = ("config.json", "preprocessor_config.json")


def weights_file(path: Path) -> Path:
    """Return the weights file at a path: the path itself, or the weights file of a folder from the Hub.

    Raises StudyError if there is none.
    """
    if path.is_dir():
        inside = [path / name for name in FILES if (path / name).is_file()]
        if not inside:
            raise StudyError(f"{path}: a folder without {', '.join(FILES)}; name the weights file itself")
        return inside[0]
    if not path.is_file():
        raise StudyError(f"{path}: no such file; check the path")
    return path


def weights_files(path: Path) -> list[Path]:
    """Return all weights files at a path: a single file, or an index and its shards.

    Raises StudyError if there is none, or if the index is broken.
    """
    path = weights_file(path)
    if not path.name.endswith(".index.json"):
        return [path]
    return [path, *(path.with_name(name) for name in sorted(set(shards_of(path).values())))]


def refuse_other_kinds(path: Path) -> None:
    """Refuse files that are often mistaken for weights, recognised by their content.

    Raises StudyError, which says what to do.
    """
    with path.open("rb") as file:
        start = file.read(512)
    text = start.lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise StudyError(f"{path}: a Git LFS pointer, not the weights; fetch them with `git lfs pull`")
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise StudyError(
            f"{path}: a web page, not weights (the server probably wanted a login); download the file again "
            "in a browser"
        )
    if start.startswith(b"\x89HDF"):
        raise StudyError(
            f"{path}: a TensorFlow or Keras file; only torch and safetensors files are supported; convert it"
        )
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        raise StudyError(f"{path}: a compressed file; unpack it and name the file inside")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise StudyError(
                f"{path}: a torch.jit program, which could run code; if you trust it, load it and save its "
                "state_dict() with torch.save"
            )
        if names and all(name.endswith(".npy") for name in names):
            raise StudyError(
                f"{path}: NumPy arrays, as saved by JAX; load them with timm and save its state_dict()"
            )
        if not any(name.endswith("data.pkl") for name in names):
            raise StudyError(f"{path}: a zip archive; unpack it and name the file inside")


def shards_of(index: Path, *, complete: bool = True) -> dict[str, str]:
    """Return the file name of each tensor in an index.

    complete: require all files to exist
    Raises StudyError if the index is broken or leads out of its folder, or if a file is missing.
    """
    try:
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {f"{name}": f"{file}" for name, file in shards.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise StudyError(f"{index}: not an index of sharded weights; download it again") from None
    for file in files.values():
        if Path(file).name != file or file.endswith(".index.json"):
            raise StudyError(f"{index}: lists {file!r}, which is not beside it; download the index again")
        if complete and not index.with_name(file).is_file():
            raise StudyError(f"{index.with_name(file)}: no such file, but {index.name} lists it; download it")
    return files
