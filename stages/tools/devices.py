"""List devices for cost estimates: their peak in dense matrix products, and their memory."""

import time
from typing import NamedTuple

import psutil
import torch

from stages.study.errors import StudyError
from stages.tools.step import peak_flops

CPU = "cpu"
UTILISATION_OF_CPU = 0.25  # measured at width 64; 0.5 at width 128, 0.67 at 224 px


class Device(NamedTuple):
    """One device: a GPU, or one core of this machine."""

    mixed: float  # TFLOP/s in bfloat16 or float16 with float32 accumulation, without sparsity
    single: float  # TFLOP/s in float32, without TF32, which PyTorch does not use by default
    memory: float  # GB
    utilisation: float  # assumed share of the peak; `make bench` measures it
    source: str

    def peak(self, precision: str) -> float:
        """Return the peak in FLOP/s. precision: as in params.yaml"""
        return 1e12 * (self.single if precision == "32-true" else self.mixed)


# The utilisation is assumed, not measured: 120 TFLOP/s of an A100, as in stages/presets/imagenet.yaml.
GPUS = {
    "h100": Device(989.4, 66.9, 80, 0.38, "NVIDIA H100 datasheet, SXM"),
    "h200": Device(989.4, 66.9, 141, 0.38, "NVIDIA H200 datasheet, SXM"),
    "a100": Device(312, 19.5, 80, 0.38, "NVIDIA A100 datasheet, SXM, 80 GB"),
    "l40s": Device(362, 91.6, 48, 0.38, "NVIDIA L40S datasheet"),
}


def device_named(name: str) -> Device:
    """Return the device with this name. A CPU is measured first, which takes seconds.

    Raises StudyError with the known names if the name is unknown.
    """
    if name == CPU:
        return this_core()
    if name not in GPUS:
        raise StudyError(f"--device {name}: unknown device; choose one of {', '.join([CPU, *GPUS])}")
    return GPUS[name]


def this_core() -> Device:
    """Return one core of this machine, with its peak as measured by short matrix products."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        mixed, single = (
            peak_flops(torch.device("cpu"), precision=precision, clock=time.process_time) / 1e12
            for precision in ("bf16-mixed", "32-true")
        )
    finally:
        torch.set_num_threads(threads)
    memory = psutil.virtual_memory().total / 1e9
    return Device(mixed, single, memory, UTILISATION_OF_CPU, "measured by a matrix product on one core")
