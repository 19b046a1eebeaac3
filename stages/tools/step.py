"""Measure FLOP and memory of one training step, and the speed of this machine's matrix products."""

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
LONG = 0.5  # seconds
DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Memory(NamedTuple):
    """The expected memory of one step, in MiB."""

    weights: float  # parameters, their gradients and the optimiser's two moments
    activations: float  # saved by autograd in the forward pass; shared storage counts once


def count_flops(task: Task, views: tuple[Tensor, ...]) -> int:
    """Count the FLOP of the matrix products of one step, forward and backward; two per multiplication.

    views: the views of a batch; tensors without content (FakeTensorMode) suffice
    """
    # PyTorch cannot count the products of fused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task(*views)["loss"].backward()
    task.zero_grad()
    return counter.get_total_flops()


def expected_memory(
    task: Task, views: tuple[Tensor, ...], *, autocast: contextlib.AbstractContextManager[None]
) -> Memory:
    """Return the memory of one step: weights, gradients, moments and activations.

    Activations are the tensors that autograd saves for the backward pass.
    views:    as for count_flops
    autocast: context in which the task runs
    """
    activations: dict[StorageWeakRef, int] = {}
    weights = {StorageWeakRef(parameter.untyped_storage()) for parameter in task.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if (storage_id := StorageWeakRef(storage)) not in weights:
            activations[storage_id] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor), autocast:
        loss = task(*views)["loss"]  # the reference keeps the saved tensors alive
    del loss
    return Memory(weight_bytes(task) / MEBI, sum(activations.values()) / MEBI)


def weight_bytes(task: Task) -> int:
    """Return the bytes of all parameters, and of gradients and AdamW's two moments of the trained ones."""
    return sum((4 if p.requires_grad else 1) * p.nbytes for p in task.parameters())


def seconds_each(
    *actions: Callable[[], object],
    times: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return the median time of each action, in seconds.

    clock: the wall clock, or time.process_time, which other processes on this machine do not slow
    The actions take turns, so all of them meet the same disturbances.
    """
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(times):
        for action, durations in zip(actions, seconds, strict=True):
            started = clock()
            action()
            if device.type != "cpu":
                torch.accelerator.synchronize()
            durations.append(clock() - started)
    return [statistics.median(durations) for durations in seconds]


def peak_flops(
    device: torch.device, *, precision: str, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the FLOP/s of the fastest matrix product on this device.

    Larger products are not tried once one takes half a second: a processor without units for bfloat16 may
    need minutes for them.
    precision: as in params.yaml
    clock:     as in `seconds_each`
    """
    best = 0.0
    for size in (256, 512, 1024, 2048) if device.type == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, device=device, dtype=DTYPES[precision]) for _ in range(2))
        product = partial(torch.matmul, a, b)
        seconds = min(seconds_each(product, times=1, device=device, clock=clock)[0] for _ in range(4))
        best = max(best, 2 * size**3 / seconds)
        if seconds > LONG:
            break
    return best
