"""Set up the processes, device and precision of a training, from runtime:; never part of a result's key."""

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
    """Return a launched Fabric on the requested devices, with one process or several.

    Under torchrun or srun, the launcher determines the number of processes. Otherwise runtime.devices
    determines it, and the other processes are started here.
    Raises StudyError if the launcher, the settings and the machine are inconsistent.
    """
    of_srun = as_torchrun_would(os.environ)
    os.environ |= of_srun
    per_node, nodes, _ = together = processes(os.environ, devices=runtime.devices)
    set_threads(runtime)
    if runtime.threads is None and per_node > 1:  # too many threads on a CPU slow each other down
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
        # The same seed gives the same bytes; torch warns if CUDA has no deterministic kernel.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    if fabric.device.type == "cpu":
        keep_memory()
    return fabric


def keep_memory() -> bool:
    """Make glibc keep freed memory for the next step; return whether this works.

    Otherwise glibc returns the activations to the kernel after every step, and gets them back page by page
    (measured: 4,000 page faults per step, 3 to 5 % of its time).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # constants of malloc.h
    return bool(mallopt(mmap_threshold, 2**25) and mallopt(trim_threshold, 2**31 - 1))


def refuse_missing_devices(per_node: int, *, device: torch.device) -> None:
    """Refuse more processes on this machine than it has devices.

    Raises StudyError, which names both numbers and what to request.
    """
    present = {"cpu": per_node, "cuda": torch.cuda.device_count(), "mps": 1}[device.type]
    if present >= per_node:
        return
    if "SLURM_STEP_ID" in os.environ:
        raise StudyError(
            f"srun starts {per_node} processes per node, but each sees {present} of its devices; request "
            f"--gpus-per-node={per_node} instead of --gpus-per-task"
        )
    raise StudyError(
        f"runtime: training needs {per_node} {device.type} devices, but this machine has {present}; lower "
        "runtime.devices or the launcher's processes, or set runtime.accelerator: cpu"
    )


def fit_to_device(task: Task, *, runtime: Runtime, fabric: Fabric) -> None:
    """Adapt a task to this machine; results stay the same up to rounding.

    Drop path is drawn once per pass, so with it, micro_batch changes results as another seed does.
    """
    use_fused_attention(task, not plain_attention_is_faster(fabric))
    for module in task.modules():
        if isinstance(module, Task):
            module.micro_batch = runtime.micro_batch
            if fabric.device.type == "cpu":
                module.part = images_in_cache(module.encoder, halved=in_bfloat16(fabric))
            if fabric.world_size > 1:
                module.gather = partial(gather, fabric=fabric)  # type: ignore[method-assign]
        if runtime.compile and isinstance(module, Block):
            module.compile()


def images_in_cache(encoder: VisionTransformer, *, halved: bool = False) -> int:
    """Return the number of images that a CPU encodes fastest together: 2,560 tokens, or more in bfloat16.

    At this size, the activations of a layer fit into the cache. They also stay below 32 MiB, above which
    glibc requests new memory from the kernel each time (measured: 15 to 25 % faster). In bfloat16, narrow
    encoders spend most time between the matrix products, so they take 10,240 tokens at a width of 64, and
    fewer in proportion to the width (measured: 8 to 20 % faster at 64, equal at 128).

    halved: activations have 16 bits
    """
    tokens = max(2560, 10240 * 64 // encoder.embed_dim) if halved else 2560
    return max(1, tokens // (encoder.patch_embed.num_patches + encoder.num_prefix_tokens))


def fuses_adamw(fabric: Fabric) -> bool:
    """Return whether to use fused AdamW (measured on a CPU: 6 times faster); it cannot unscale float16."""
    return fabric.device.type in ("cpu", "cuda") and fabric._precision.precision != "16-mixed"


def gather(rows: Tensor, *, fabric: Fabric) -> Tensor:
    """Return the rows (B, ...) of all processes, in order, for a loss that every process computes in full.

    Gradients flow only to the rows of this process. They are multiplied by the number of processes, because
    the gradients of the weights are averaged over processes afterwards.
    """
    world = fabric.world_size
    parts = list(cast(Tensor, fabric.all_gather(rows.detach())))
    parts[fabric.global_rank] = rows + (world - 1) * (rows - rows.detach())
    return torch.cat(parts)


def circumstances(runtime: Runtime, *, precision: Precision) -> list[str]:
    """Return the device and the precision of a training, in words."""
    return [f"{pick_device(runtime)}", precision]


def machine(fabric: Fabric, *, precision: Precision) -> dict[str, str]:
    """Return the device, precision and library versions of a training, for its record."""
    cuda = fabric.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(fabric.device) if cuda else fabric.device.type,
        "precision": precision,
        "torch": torch.__version__,
        "timm": timm.__version__,
    }


def plain_attention_is_faster(fabric: Fabric) -> bool:
    """Return whether plain attention is faster: on a CPU in bfloat16 (measured: 1.6 to 1.9 times)."""
    return fabric.device.type == "cpu" and in_bfloat16(fabric)


def in_bfloat16(fabric: Fabric) -> bool:
    """Return whether matrix products of a training use bfloat16."""
    return "bf16" in str(fabric._precision.precision)
