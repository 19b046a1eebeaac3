"""FLOP and memory of one step of a training, and the speed of this machine's matrix products."""

import contextlib
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stages.training.task import Task

MEBI = 2**20
DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Memory(NamedTuple):
    """What one step should need, in MiB."""

    weights: float  # parameters, their gradients and the optimiser's two moments
    activations: float  # what autograd keeps of the forward pass, each storage once


def count_flops(task: Task, views: tuple[Tensor, ...]) -> int:
    """Count the FLOP of the matrix products of one step, both ways; two for each multiplication.

    views: what the task is shown of a batch; tensors without content (FakeTensorMode) will do
    """
    # Only the products of plain attention can be counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task(*views)["loss"].backward()
    task.zero_grad()
    return counter.get_total_flops()


def expected_memory(
    task: Task, views: tuple[Tensor, ...], *, autocast: contextlib.AbstractContextManager[None]
) -> Memory:
    """Return what one step has to keep: weights, gradients, moments, and activations for the gradient.

    Activations are counted from the tensors that autograd keeps.
    views:    as for count_flops
    autocast: in which the task runs
    """
    kept: dict[StorageWeakRef, int] = {}
    own = {StorageWeakRef(parameter.untyped_storage()) for parameter in task.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if (storage_id := StorageWeakRef(storage)) not in own:
            kept[storage_id] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor), autocast:
        loss = task(*views)["loss"]  # kept alive, and with it what it needs
    del loss
    return Memory(weight_bytes(task) / MEBI, sum(kept.values()) / MEBI)


def weight_bytes(task: Task) -> int:
    """Return the bytes of parameters, and of gradients and AdamW's two moments of those that learn."""
    return sum((4 if p.requires_grad else 1) * p.nbytes for p in task.parameters())


def seconds_each(
    *actions: Callable[[], object],
    times: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return the median time of each action, in seconds.

    clock: what measures: the wall clock, unless time.process_time, which others on this machine do not slow
    The actions take turns, so that all meet the same noise.
    """
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(times):
        for action, taken in zip(actions, seconds, strict=True):
            started = clock()
            action()
            if device.type != "cpu":
                torch.accelerator.synchronize()
            taken.append(clock() - started)
    return [statistics.median(taken) for taken in seconds]


def peak_flops(
    device: torch.device, *, precision: str, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return floating point operations a second of the fastest matrix product here.

    precision: of the training, as in params.yaml; clock: as in `seconds_each`
    """
    best = 0.0
    for size in (1024, 2048) if device.type == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, device=device, dtype=DTYPES[precision]) for _ in range(2))
        product = partial(torch.matmul, a, b)
        seconds = min(seconds_each(product, times=1, device=device, clock=clock)[0] for _ in range(4))
        best = max(best, 2 * size**3 / seconds)
    return best
