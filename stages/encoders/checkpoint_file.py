"""Read weight files safely, and explain files that hold no weights."""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from stages.encoders.weights_file import refuse_other_kinds, shards_of, weights_file
from stages.study.errors import StudyError


class Unread:
    """Stands in for settings and numbers in a checkpoint that are not needed here."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


# Published checkpoints also hold an argparse.Namespace (MoCo v3, MAE, DINO), NumPy scalars (DINO) and a yacs
# configuration (SimMIM).
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (Unread, "argparse.Namespace"),
    (Unread, "numpy.dtype"),
    (Unread, "numpy.core.multiarray.scalar"),
    (Unread, "numpy._core.multiarray.scalar"),
    (OrderedDict, "yacs.config.CfgNode"),
]


def read_content(path: Path) -> Any:
    """Return the content of a weights file without running code; pickles give tensors and plain values only.

    path: a file from torch.save or safetensors, an index of such files, or a folder from the Hub
    Raises StudyError, which says what the file is instead.
    """
    path = weights_file(path)
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    refuse_other_kinds(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle protocols
            # Memory-mapped, so that the optimiser's state, often two thirds of a file, is not read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if wanted := re.search(r"GLOBAL (\S+)", str(error)):
            raise StudyError(
                f"{path}: refused, because reading it would run {wanted[1]}; if you trust the file, load it "
                "and save only its weights with torch.save or safetensors"
            ) from None
        raise StudyError(f"{path}: not a weights-only file of torch.save; save its state_dict()") from None
    except Exception as error:  # torch and safetensors raise many kinds for other files
        reason = " ".join(str(error).split())[:120]
        raise StudyError(
            f"{path}: not readable as weights ({type(error).__name__}: {reason}); check the file"
        ) from None


def _read_shards(index: Path) -> dict[str, Any]:
    """Return the tensors of all files listed in an index."""
    shards = shards_of(index)
    tensors: dict[str, Any] = {}
    for name in sorted(set(shards.values())):
        file = index.with_name(name)
        content = read_content(file)
        tensors |= content if isinstance(content, dict) else {}
    missing = [name for name in shards if name not in tensors]
    if missing:
        raise StudyError(
            f"{index}: its files lack {len(missing)} of its tensors, such as {missing[0]}; "
            "download the files again"
        )
    return tensors
