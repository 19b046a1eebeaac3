"""The one training loop: pre-training and fine-tuning differ in the task they hand it."""

import sys
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Generator, Tensor
from tqdm import tqdm

from stages.study.errors import StudyError
from stages.study.seeds import derive, generator
from stages.training.checkpoints import Checkpoints
from stages.training.schedule import learning_rate
from stages.training.task import Task

Inputs = Callable[[Tensor, np.ndarray, Generator], tuple[Tensor, ...]]
History = list[dict[str, float]]


class Recipe(Protocol):
    """What pre-training and fine-tuning both set."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    warmup_epochs: float
    clip_grad: float


def train(
    task: Task,
    *,
    inputs: Inputs,
    batches: Callable[[int, list[np.ndarray]], Iterator[Tensor]],
    images: int,
    recipe: Recipe,
    betas: tuple[float, float],
    layer_decay: float | None,
    seed: int,
    fabric: Fabric,
    checkpoints: Checkpoints,
) -> History:
    """Train a task in place and give its history, one row an epoch.

    inputs:  (uint8 batch (B, 3, S, S) on the device, its indices, generator) to what forward takes
    batches: uint8 batches for an epoch and its list of index arrays
    images:  how many there are to draw from
    Everything random is derived from the seed and the epoch, so a run that goes on from a checkpoint ends in
    the same bytes as one that was never stopped.
    Raises StudyError naming the step if the loss stops being finite.
    """
    name = checkpoints.stage

    # Set up
    steps_per_epoch = images // recipe.batch_size
    if steps_per_epoch == 0:
        raise StudyError(f"{name}: batch_size {recipe.batch_size} is more than the {images} training images")
    total_steps = recipe.epochs * steps_per_epoch
    groups = parameter_groups(task, weight_decay=recipe.weight_decay, layer_decay=layer_decay)
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=betas)
    history: History = []

    # Resume
    state = checkpoints.latest()
    if state is not None:
        task.load_state_dict(state["task"])
        history = state["history"]
        print(f"{name}: resumed at epoch {len(history)}/{recipe.epochs}", flush=True)
    model, fabric_optimizer = fabric.setup(task, optimizer)
    if state is not None:
        fabric_optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["precision"])  # the loss scale of 16-mixed

    # Train
    for epoch in range(len(history), recipe.epochs):
        torch.manual_seed(derive(seed, "library", epoch))  # drop path draws from the global generator
        draw = generator(seed, "augment", epoch, device=fabric.device)
        order = epoch_order(images, batch_size=recipe.batch_size, seed=derive(seed, "order", epoch))
        records: list[dict[str, Tensor]] = []
        task.train()
        bar = tqdm(
            batches(epoch, order),
            total=steps_per_epoch,
            disable=None,
            leave=False,
            desc=f"{name} {epoch + 1}",
        )
        for index, batch in enumerate(bar):
            step = epoch * steps_per_epoch + index
            lr = learning_rate(
                step,
                peak=recipe.lr,
                warmup_steps=round(recipe.warmup_epochs * steps_per_epoch),
                total_steps=total_steps,
            )
            for group in fabric_optimizer.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)
            task.before_step(step / total_steps)
            tensors = inputs(fabric.to_device(batch), order[index], draw)
            losses = model(*tensors)
            fabric.backward(losses["loss"])
            norm = fabric.clip_gradients(
                model, fabric_optimizer, max_norm=recipe.clip_grad, error_if_nonfinite=False
            )
            fabric_optimizer.step()
            fabric_optimizer.zero_grad()
            records.append(
                {key: value.detach().float() for key, value in losses.items()} | {"grad_norm": norm}
            )
            if step % 50 == 0 or index == steps_per_epoch - 1:
                refuse_nonfinite(records, name=name, first_step=epoch * steps_per_epoch, total=total_steps)

        # Record, save, tell
        row = {"epoch": float(epoch + 1)}
        row |= {key: torch.stack([record[key] for record in records]).mean().item() for key in records[0]}
        history.append(row | {"lr": lr})
        if fabric.is_global_zero:
            state = {"task": task.state_dict(), "optimizer": fabric_optimizer.state_dict()}
            state |= {"precision": fabric.strategy.precision.state_dict(), "history": history}
            checkpoints.save(epoch + 1, state)
            parts = "  ".join(f"{key} {value:.4f}" for key, value in row.items() if key != "epoch")
            print(f"{name}: epoch {epoch + 1}/{recipe.epochs}  {parts}", file=sys.stdout, flush=True)
        fabric.barrier()
    if fabric.is_global_zero:
        checkpoints.finish()
    return history


def parameter_groups(
    task: Task, *, weight_decay: float, layer_decay: float | None
) -> list[dict[str, object]]:
    """Parameter groups: no weight decay on biases, norms, positions and tokens; lr scaled by depth if asked.

    layer_decay: factor from one block to the one before it; then all that is trained is in task.encoder
    Source: Xie et al. 2022 and He et al. 2022, as implemented by timm.
    """
    kept = [name for name, _ in task.named_parameters() if name.endswith(("_token", "pos_embed"))]
    if layer_decay is None:
        return param_groups_weight_decay(task, weight_decay=weight_decay, no_weight_decay_list=kept)
    kept = [name.removeprefix("encoder.") for name in kept]
    return param_groups_layer_decay(
        task.encoder, weight_decay=weight_decay, no_weight_decay_list=kept, layer_decay=layer_decay
    )


def epoch_order(images: int, *, batch_size: int, seed: int) -> list[np.ndarray]:
    """All images in random order, cut into whole batches; the rest of the last one is left out.

    returns: list of (batch_size,) index arrays
    """
    order = np.random.default_rng(seed).permutation(images)
    whole = images // batch_size
    return list(order[: whole * batch_size].reshape(whole, batch_size))


def refuse_nonfinite(records: list[dict[str, Tensor]], *, name: str, first_step: int, total: int) -> None:
    """Stop at a loss that is not finite.

    Raises StudyError naming the first such step and what to do.
    """
    losses = torch.stack([record["loss"] for record in records])
    finite = torch.isfinite(losses)
    if not finite.all():
        step = int((~finite).int().argmax())
        raise StudyError(
            f"{name}: loss is {losses[step].item()} at step {first_step + step + 1} of {total}; "
            "lower lr or clip_grad, or lengthen warmup_epochs"
        )
