"""Read weight files safely, and explain files that hold no weights."""

import math
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

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
    content = _read(path)
    refuse_absent_numbers(content, path)
    return content


def refuse_absent_numbers(content: Any, path: Path) -> None:
    """Refuse tensors whose numbers are not all in the file: with a stride of 0, four bytes fill any memory.

    A dimension of 0 counts as 1, because the shapes of tensors decide the size of the encoder.
    Raises StudyError with the name of the tensor.
    """
    size, seen = path.stat().st_size, set()
    waiting: list[tuple[Any, Any]] = [("a tensor", content)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            plain = value.device.type == "cpu" and value.layout == torch.strided and not value.is_quantized
            bytes_needed = value.element_size() * math.prod(max(1, length) for length in value.shape)
            if not plain or bytes_needed > size:
                raise StudyError(
                    f"{path}: {name} of shape {tuple(value.shape)}: the file holds only a part of its "
                    "numbers; save contiguous dense tensors"
                )
        elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.items() if isinstance(value, Mapping) else ((name, part) for part in value)


def refuse_larger(path: Path, parameters: float, tensors: Mapping[str, Tensor]) -> None:
    """Refuse to build a network whose parameters are many times the numbers of a file.

    A network with a few absent tensors is built, and their names are then reported.
    Raises StudyError with both counts.
    """
    count = sum(tensor.numel() for tensor in tensors.values())
    if parameters > 4 * count:
        raise StudyError(
            f"{path}: the shapes of its tensors imply {parameters:.1e} parameters, but it holds only "
            f"{count:.1e} numbers; download it again"
        )


def _read(path: Path) -> Any:
    """Return the content of one file. Raises StudyError, which says what the file is instead."""
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
