"""The training loop of all trainings; pre-training and fine-tuning differ only in their task."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor
from tqdm import tqdm

from stages.study.errors import StudyError
from stages.study.seeds import Draws, derive, generator
from stages.study.timings import note
from stages.training.checkpoints import Checkpoints
from stages.training.devices import fuses_adamw
from stages.training.schedule import learning_rate, rising_weight_decay
from stages.training.task import Task

Inputs = Callable[[Tensor, np.ndarray, Draws], tuple[Tensor, ...]]
History = list[dict[str, float]]


class Recipe(Protocol):
    """The settings that pre-training and fine-tuning share."""

    epochs: int
    batch_size: int

    @property
    def peak_lr(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def warmup_epochs(self) -> float: ...

    @property
    def clip_grad(self) -> float | None: ...


def train(
    task: Task,
    *,
    inputs: Inputs,
    batches: Callable[[int, list[np.ndarray]], Iterator[Tensor]],
    images: int,
    recipe: Recipe,
    seed: int,
    fabric: Fabric,
    checkpoints: Checkpoints,
    optimizer: torch.optim.Optimizer | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    layer_decay: float | None = None,
    min_lr: float = 0.0,
    milestone: float | None = None,
    weight_decay_end: float | None = None,
    decay_all: bool = False,
    stop_epoch: int | None = None,
    after_step: Callable[[int], None] | None = None,
) -> History:
    """Train a task in place and return its history, one row per epoch.

    inputs:     maps a uint8 batch (B, 3, S, S) on the device, its indices and draws to the inputs of forward
    batches:    returns the uint8 batches of an epoch, given its number and its list of index arrays
    images:     number of training images
    optimizer:  of the task's own parameters; None: AdamW with betas, and with layer_decay and decay_all as in
                `parameter_groups`. A group's rate is the schedule's rate times its lr_scale
    min_lr, milestone: see `learning_rate`
    weight_decay_end:  see `rising_weight_decay`
    stop_epoch: epoch to stop after, while the schedules span all epochs; None: run all epochs
    after_step: called by the first process after each step with the number of steps done. It must not change
                the task, and is called again for steps that a killed run has lost
    All randomness is derived from the seed and the epoch, so a resumed run ends with the same bytes as an
    uninterrupted one. Several processes share each batch, and each image is augmented as with one process.
    Raises StudyError, which names the step, if the loss is not finite.
    """
    name = checkpoints.stage

    # Set up
    steps_per_epoch = images // recipe.batch_size
    if steps_per_epoch == 0:
        raise StudyError(
            f"{name}: batch_size {recipe.batch_size} exceeds the {images} training images; lower batch_size"
        )
    epochs = recipe.epochs if stop_epoch is None else stop_epoch
    total_steps = recipe.epochs * steps_per_epoch
    rows = rows_of(fabric.global_rank, of=fabric.world_size, batch_size=recipe.batch_size)
    if optimizer is None:
        groups = parameter_groups(
            task, weight_decay=recipe.weight_decay, layer_decay=layer_decay, decay_all=decay_all
        )
        optimizer = torch.optim.AdamW(groups, lr=recipe.peak_lr, betas=betas, fused=fuses_adamw(fabric))
    decayed = [bool(group["weight_decay"]) for group in optimizer.param_groups]
    history: History = []

    # Resume
    with fabric.rank_zero_first():  # only the first process renames damaged files
        state = checkpoints.latest()
    if state is not None:
        task.load_state_dict(state["task"])
        history = state["history"]
        note("saved", epoch=checkpoints.epoch(len(history)), epochs=checkpoints.epoch(epochs))
        tell(fabric, f"{name}: resumed at epoch {checkpoints.progress(len(history), epochs)}")
    model, fabric_optimizer = fabric.setup(task, optimizer)
    if state is not None:
        fabric_optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["precision"])  # the loss scale of 16-mixed

    # Train
    for epoch in range(len(history), epochs):
        # Drop path draws from the global generator; each process needs its own draws for its images.
        torch.manual_seed(derive(seed, "library", epoch, fabric.global_rank))
        augmentation = generator(seed, "augment", epoch, device=fabric.device)
        order = epoch_order(images, batch_size=recipe.batch_size, seed=derive(seed, "order", epoch))
        order = [indices[rows] for indices in order]
        records: list[dict[str, Tensor]] = []
        task.train()
        bar = tqdm(
            batches(epoch, order),
            total=steps_per_epoch,
            disable=None if fabric.is_global_zero else True,
            leave=False,
            desc=f"{name} {epoch + 1}",
        )
        for index, batch in enumerate(bar):
            step = epoch * steps_per_epoch + index
            lr = learning_rate(
                step,
                peak=recipe.peak_lr,
                warmup_steps=round(recipe.warmup_epochs * steps_per_epoch),
                total_steps=total_steps,
                minimum=min_lr,
                milestone=milestone,
            )
            for group, decays in zip(fabric_optimizer.param_groups, decayed, strict=True):
                group["lr"] = lr * group.get("lr_scale", 1.0)
                if decays and weight_decay_end is not None:
                    group["weight_decay"] = rising_weight_decay(
                        step / total_steps, start=recipe.weight_decay, end=weight_decay_end
                    )
            task.before_step(step / total_steps)
            draws = Draws(augmentation, batch=recipe.batch_size, rows=rows)
            views = inputs(fabric.to_device(batch), order[index], draws)
            records.append(
                take_step(
                    model, fabric_optimizer, views, task=task, clip_grad=recipe.clip_grad, fabric=fabric
                )
            )
            if after_step is not None and fabric.is_global_zero:
                after_step(step + 1)
            if step % 50 == 0 or index == steps_per_epoch - 1:
                refuse_nonfinite(
                    mean_over_processes(torch.stack([record["loss"] for record in records]), fabric=fabric),
                    name=name,
                    first_step=epoch * steps_per_epoch,
                    total=total_steps,
                )

        # Record, save, report
        task.after_epoch(epoch + 1)
        row = {"epoch": float(epoch + 1)}
        for key in records[0]:
            values = torch.stack([record[key] for record in records])
            row[key] = mean_over_processes(values.mean(), fabric=fabric).item()
        history.append(row | {"lr": lr})
        if fabric.is_global_zero:
            state = {"task": task.state_dict(), "optimizer": fabric_optimizer.state_dict()}
            state |= {"precision": fabric.strategy.precision.state_dict(), "history": history}
            checkpoints.save(epoch + 1, state)
            note("saved", epoch=checkpoints.epoch(checkpoints.last), epochs=checkpoints.epoch(epochs))
        parts = "  ".join(f"{key} {value:.4f}" for key, value in row.items() if key != "epoch")
        tell(fabric, f"{name}: epoch {checkpoints.progress(epoch + 1, epochs)}  {parts}")
        fabric.barrier()
    return history


def take_step(
    model: _FabricModule,
    optimizer: _FabricOptimizer,
    views: tuple[Tensor, ...],
    *,
    task: Task,
    clip_grad: float | None,
    fabric: Fabric,
) -> dict[str, Tensor]:
    """Take one optimiser step on one batch; return its losses and grad_norm, the norm before clipping.

    model, optimizer: the task and its optimiser, wrapped by Fabric
    views:            (B, ...) each, from task.views
    clip_grad:        largest gradient norm; None: no clipping
    """
    micro_batch = task.micro_batch if task.separable else None
    losses = backward(model, views, micro_batch=micro_batch, fabric=fabric)
    max_norm = math.inf if clip_grad is None else clip_grad
    norm = fabric.clip_gradients(model, optimizer, max_norm=max_norm, error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad()
    return losses | {"grad_norm": cast(Tensor, norm)}


def backward(
    model: _FabricModule, views: tuple[Tensor, ...], *, micro_batch: int | None, fabric: Fabric
) -> dict[str, Tensor]:
    """Accumulate the gradient of a batch part by part, and return the losses of the batch.

    views:       (B, ...) each
    micro_batch: rows per part; losses are averaged over parts; None: the whole batch at once
    """
    whole = len(views[0])
    parts = list(zip(*(view.split(micro_batch or whole) for view in views), strict=True))
    total: dict[str, Tensor] = {}
    for number, part in enumerate(parts):
        share = len(part[0]) / whole
        with fabric.no_backward_sync(model, enabled=number < len(parts) - 1):
            losses = model(*part)
            fabric.backward(share * losses["loss"])
        for key, value in losses.items():
            total[key] = total.get(key, 0.0) + share * value.detach().float()
    return total


def mean_over_processes(value: Tensor, *, fabric: Fabric) -> Tensor:
    """Return the mean of a tensor over all processes."""
    return cast(Tensor, fabric.all_reduce(value, reduce_op="mean"))


def rows_of(rank: int, *, of: int, batch_size: int) -> slice:
    """Return the rows of a batch that one of several processes trains on.

    rank: number of this process, from 0
    of:   number of processes
    Raises StudyError if the batch cannot be divided evenly.
    """
    if batch_size % of:
        raise StudyError(f"batch_size {batch_size} is not divisible by {of} processes; make it a multiple")
    return slice(rank * batch_size // of, (rank + 1) * batch_size // of)


def tell(fabric: Fabric, line: str) -> None:
    """Print a line from the first process only."""
    if fabric.is_global_zero:
        print(line, flush=True)


def parameter_groups(
    task: Task, *, weight_decay: float, layer_decay: float | None, decay_all: bool = False
) -> list[dict[str, object]]:
    """Return parameter groups without weight decay on biases, norms, positions and tokens.

    layer_decay: ratio of a block's rate to that of the next block; requires all trained parameters to be in
                 task.encoder; None: one rate for all
    decay_all:   apply weight decay to all trained parameters, without layer_decay
    Source: Xie et al. 2022 and He et al. 2022, as implemented by timm; decay_all follows the public
    configuration of MoCo v3.
    """
    if decay_all:
        trained = [parameter for parameter in task.parameters() if parameter.requires_grad]
        return [{"params": trained, "weight_decay": weight_decay}]
    exempt = [name for name, _ in task.named_parameters() if name.endswith(("_token", "pos_embed"))]
    if layer_decay is None:
        return param_groups_weight_decay(task, weight_decay=weight_decay, no_weight_decay_list=exempt)
    exempt = [name.removeprefix("encoder.") for name in exempt]
    return param_groups_layer_decay(
        task.encoder, weight_decay=weight_decay, no_weight_decay_list=exempt, layer_decay=layer_decay
    )


def epoch_order(images: int, *, batch_size: int, seed: int) -> list[np.ndarray]:
    """Return all images in random order, split into full batches; an incomplete last batch is dropped.

    returns: list of (batch_size,) index arrays
    """
    order = np.random.default_rng(seed).permutation(images)
    whole = images // batch_size
    return list(order[: whole * batch_size].reshape(whole, batch_size))


def refuse_nonfinite(losses: Tensor, *, name: str, first_step: int, total: int) -> None:
    """Stop if a loss is not finite. losses: (steps,)

    Raises StudyError, which names the first such step and what to do.
    """
    finite = torch.isfinite(losses)
    if not finite.all():
        step = int((~finite).int().argmax())
        raise StudyError(
            f"{name}: loss is {losses[step].item()} at step {first_step + step + 1} of {total}; "
            "lower lr or clip_grad, or lengthen warmup_epochs"
        )
