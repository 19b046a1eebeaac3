"""Files of weights as people have them: what is in them, and what a file is that holds none."""

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
    """Stands in for the settings and numbers beside the weights, which nothing here looks at."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


# What the projects' own files hold besides tensors: argparse.Namespace (MoCo v3, MAE, DINO), the scheduled
# rates of DINO, which are numpy numbers, and the configuration of SimMIM, a dictionary of yacs.
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (Unread, "argparse.Namespace"),
    (Unread, "numpy.dtype"),
    (Unread, "numpy.core.multiarray.scalar"),
    (Unread, "numpy._core.multiarray.scalar"),
    (OrderedDict, "yacs.config.CfgNode"),
]


def read_content(path: Path) -> Any:
    """Return what a file holds; of a pickle only tensors and plain values, and nothing in it is called.

    path: a file of torch.save or safetensors, an index of several such files, or a folder of the Hub
    Raises StudyError naming what the file is instead.
    """
    path = weights_file(path)
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    refuse_other_kinds(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the age of the pickle
            # Mapped, so that the state of the optimiser, two thirds of many files, is not read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if wanted := re.search(r"GLOBAL (\S+)", str(error)):
            raise StudyError(
                f"{path}: refused, because reading it would run {wanted[1]}; where you trust it, load it and "
                "save its weights alone with torch.save or safetensors"
            ) from None
        raise StudyError(f"{path}: not a file of torch.save with nothing but weights") from None
    except Exception as error:  # torch and safetensors raise many kinds for what is not theirs
        reason = " ".join(str(error).split())[:120]
        raise StudyError(f"{path}: cannot be read as weights ({type(error).__name__}: {reason})") from None


def _read_shards(index: Path) -> dict[str, Any]:
    """Return the tensors of all files that an index names."""
    shards = shards_of(index)
    tensors: dict[str, Any] = {}
    for name in sorted(set(shards.values())):
        file = index.with_name(name)
        content = read_content(file)
        tensors |= content if isinstance(content, dict) else {}
    missing = [name for name in shards if name not in tensors]
    if missing:
        raise StudyError(f"{index}: names {missing[0]} and {len(missing) - 1} more that its files lack")
    return tensors
