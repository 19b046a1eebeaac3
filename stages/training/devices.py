"""What the training runs on: processes, device and precision, from runtime:, never part of a result's key."""

import logging
import os
import warnings
from typing import Literal

import torch
from lightning_fabric import Fabric

from stages.study.device import set_threads
from stages.study.errors import StudyError
from stages.study.params import Runtime


def make_fabric(runtime: Runtime) -> Fabric:
    """Fabric on one device, started.

    Raises StudyError if several processes or devices are asked for: the loss would see a part of its keys.
    """
    if runtime.devices > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise StudyError("runtime.devices: training runs in one process on one device; set it to 1")
    set_threads(runtime)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    fabric = Fabric(
        accelerator=runtime.accelerator,
        devices=1,
        precision=best_precision(runtime.accelerator) if runtime.precision == "auto" else runtime.precision,
    )
    fabric.launch()
    if fabric.device.type == "cuda":
        # The same bytes from the same seed; where CUDA has no deterministic kernel, torch says so.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    return fabric


def best_precision(accelerator: str) -> Literal["bf16-mixed", "16-mixed", "32-true"]:
    """bf16-mixed where the GPU or the processor that is asked for computes in bfloat16, 32-true elsewhere."""
    if accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    # Processors without bfloat16 units emulate it, ten times slower than float32.
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


def plain_attention_is_faster(fabric: Fabric) -> bool:
    """On a CPU in bfloat16, plain attention beats the fused one (measured: 1.6 to 1.9 times)."""
    return fabric.device.type == "cpu" and "bf16" in str(fabric._precision.precision)
