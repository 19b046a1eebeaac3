"""What the training runs on: processes, device and precision, from runtime:, never part of a result's key."""

import ctypes
import logging
import os
import warnings
from functools import partial
from typing import cast

import timm
import torch
from lightning_fabric import Fabric
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor

from stages.encoders.vit import use_fused_attention
from stages.study.device import pick_device, set_threads
from stages.study.errors import StudyError
from stages.study.section import Precision
from stages.study.settings import Runtime
from stages.training.launchers import as_torchrun_would, mortal, processes
from stages.training.task import Task


def make_fabric(runtime: Runtime, *, precision: Precision) -> Fabric:
    """Fabric on the devices asked for, started: alone, or as one of several processes that train together.

    Started by torchrun or srun, the launcher says how many processes there are; else runtime.devices does,
    and the others are started here.
    Raises StudyError if the launcher, the settings and the machine do not fit together.
    """
    of_srun = as_torchrun_would(os.environ)
    os.environ |= of_srun
    per_node, nodes, _ = together = processes(os.environ, devices=runtime.devices)
    set_threads(runtime)
    if runtime.threads is None and per_node > 1:  # on a CPU, threads of several processes stall each other
        given = os.environ.get("SLURM_CPUS_PER_TASK") if of_srun else None
        torch.set_num_threads(int(given or max(1, torch.get_num_threads() // per_node)))
    refuse_missing_devices(per_node, device=pick_device(runtime))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    fabric = Fabric(
        accelerator=runtime.accelerator,
        devices=per_node,
        num_nodes=nodes,
        strategy="ddp" if per_node * nodes > 1 else "auto",
        precision=precision,
        plugins=together.environment,
    )
    with mortal():
        fabric.launch()
    if fabric.device.type == "cuda":
        # The same bytes from the same seed; where CUDA has no deterministic kernel, torch says so.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    if fabric.device.type == "cpu":
        keep_memory()
    return fabric


def keep_memory() -> bool:
    """Let glibc keep what a step frees for the next one, and say whether it does so.

    Otherwise it gives the activations back after every step, and the kernel hands them out again page by page
    (measured: 4,000 page faults a step, 3 to 5 % of its time).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # as malloc.h numbers them
    return bool(mallopt(mmap_threshold, 2**25) and mallopt(trim_threshold, 2**31 - 1))


def refuse_missing_devices(per_node: int, *, device: torch.device) -> None:
    """Refuse more processes on this machine than it has devices.

    Raises StudyError naming both numbers and what to ask for.
    """
    present = {"cpu": per_node, "cuda": torch.cuda.device_count(), "mps": 1}[device.type]
    if present >= per_node:
        return
    if "SLURM_STEP_ID" in os.environ:
        raise StudyError(
            f"srun starts {per_node} processes on a node, but each sees {present} of its devices; ask for "
            f"--gpus-per-node={per_node}, not --gpus-per-task"
        )
    raise StudyError(
        f"runtime: training wants {per_node} {device.type} devices, but this machine shows {present}; lower "
        "devices or what the launcher starts, or set accelerator: cpu"
    )


def fit_to_device(task: Task, *, runtime: Runtime, fabric: Fabric) -> None:
    """Set how a task runs here; nothing of it changes what the task computes, up to rounding."""
    use_fused_attention(task, not plain_attention_is_faster(fabric))
    for module in task.modules():
        if isinstance(module, Task):
            module.micro_batch = runtime.micro_batch
            module.part = images_in_cache(module.encoder) if fabric.device.type == "cpu" else None
            if fabric.world_size > 1:
                module.gather = partial(gather, fabric=fabric)  # type: ignore[method-assign]
        if runtime.compile and isinstance(module, Block):
            module.compile()


def images_in_cache(encoder: VisionTransformer) -> int:
    """How many images a processor encodes fastest at a time: 2,560 tokens (measured: 15 to 25 % faster).

    A part of that size keeps the activations of a layer in the cache, and below the 32 MiB from which glibc
    asks the kernel for fresh memory each time.
    """
    return max(1, 2560 // (encoder.patch_embed.num_patches + encoder.num_prefix_tokens))


def fuses_adamw(fabric: Fabric) -> bool:
    """Whether AdamW runs as one kernel (measured on a CPU: 6 times faster), which cannot unscale float16."""
    return fabric.device.type in ("cpu", "cuda") and fabric._precision.precision != "16-mixed"


def gather(rows: Tensor, *, fabric: Fabric) -> Tensor:
    """The rows (B, ...) of all processes, in their order, for a loss that each of them computes whole.

    Its gradient reaches the rows of this process alone, times the number of processes, over which the
    gradients of the weights are averaged afterwards.
    """
    world = fabric.world_size
    parts = list(cast(Tensor, fabric.all_gather(rows.detach())))
    parts[fabric.global_rank] = rows + (world - 1) * (rows - rows.detach())
    return torch.cat(parts)


def circumstances(runtime: Runtime, *, precision: Precision) -> list[str]:
    """The device and the precision of a training, in words."""
    return [f"{pick_device(runtime)}", precision]


def machine(fabric: Fabric, *, precision: Precision) -> dict[str, str]:
    """What a training ran on, for its record: device, precision, versions."""
    cuda = fabric.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(fabric.device) if cuda else fabric.device.type,
        "precision": precision,
        "torch": torch.__version__,
        "timm": timm.__version__,
    }


def plain_attention_is_faster(fabric: Fabric) -> bool:
    """On a CPU in bfloat16, plain attention beats the fused one (measured: 1.6 to 1.9 times)."""
    return fabric.device.type == "cpu" and "bf16" in str(fabric._precision.precision)
