"""Estimate the cost of the trainings of one arm, from one step on tensors without content.

The step runs the code of the training, so it counts all views, both directions, momentum encoders, decoders,
heads, and the second pass of runtime.micro_batch, for every objective. It computes and allocates nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from stages.encoders.architecture import build_encoder, share_positions
from stages.encoders.vit import embed, encode
from stages.objectives.contract import Objective
from stages.objectives.losses import _window_means
from stages.objectives.overrides import objectives_of
from stages.study.lookup import find
from stages.study.params import arm_of, seeds_of
from stages.study.recipe import images_seen, recipe_of
from stages.study.section import Precision
from stages.study.seeds import Draws
from stages.study.study import Study
from stages.tools.devices import Device
from stages.tools.disk import Images, feature_bytes
from stages.tools.step import DTYPES, MEBI, count_flops, expected_memory, weight_bytes
from stages.training.task import Task

CLASSES = [1000]  # for objectives that need labels; the cost of their heads is negligible


class Step(NamedTuple):
    """The cost of one step. Memory and files are in bytes."""

    flop: float  # per image, with all its views
    flop_of_encoder: float  # per image, for the training of an encoder alone
    weights: float  # parameters, gradients and moments
    activations: float  # per image of one pass
    views: float  # per image
    encoder: float  # one file of the encoder
    resume: float  # one checkpoint to resume from


class Cost(NamedTuple):
    """The cost of the trainings of one arm. From `images_seen` on, all values are per seed."""

    arm: str
    seeds: int
    precision: str
    images_seen: int
    flop_per_image: float
    flop: float
    seconds: float
    memory: float  # bytes
    at_once: int  # images per pass of the encoder
    fit: int  # largest number of images per pass that fits into the memory of the device
    finetuning_flop: float
    finetuning_seconds: float
    encoder: float  # bytes of all encoders that pre-training writes, snapshots included
    finetuned: float  # bytes
    features: float  # bytes
    resume: float  # bytes of the two checkpoints of a running training


class Encoding(Task):
    """An encoder alone, as fine-tuning trains it. Its linear head is too small to count."""

    def __init__(self, encoder: VisionTransformer) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return a loss to which every token contributes. images: (B, 3, S, S)"""
        return {"loss": encode(self.encoder, embed(self.encoder, images)).mean()}


def cost_of(study: Study, name: str, *, images: Images, device: Device) -> Cost:
    """Return the cost of the trainings of an arm. Raises StudyError if settings contradict each other."""
    arm, settings, runtime = arm_of(study, name), study.finetune, study.runtime
    vit, recipe = recipe_of(study, name)
    trained = find(Objective, arm.objective).build is not None
    rows = recipe.batch_size // runtime.devices
    at_once = min(runtime.micro_batch or rows, rows)
    step = pretraining_step(study, name, rows=rows, at_once=at_once)
    count = images_seen(study, name, images=images.train) if trained else 0
    flop = count * step.flop if trained else 0.0
    seen = settings.epochs * min(images.train, settings.train_images or images.train)
    finetuning = len(settings.poolings) * seen * step.flop_of_encoder
    room = 1e9 * device.memory - step.weights - rows * step.views
    snapshots = len(recipe.snapshots) if count else 0
    return Cost(
        arm=name,
        seeds=len(seeds_of(study, name)),
        precision=recipe.precision,
        images_seen=count,
        flop_per_image=step.flop if trained else 0.0,
        flop=flop,
        seconds=flop / speed(device, recipe.precision),
        memory=step.weights + rows * step.views + at_once * step.activations if trained else 0.0,
        at_once=at_once if trained else 0,
        fit=max(0, int(room / step.activations)),
        finetuning_flop=finetuning,
        finetuning_seconds=finetuning / speed(device, settings.precision),
        encoder=(1 + snapshots) * step.encoder,
        finetuned=len(settings.poolings) * step.encoder,
        features=feature_bytes(vit, study.features, images=images, image_size=study.data.image_size),
        resume=2 * step.resume if trained else 0.0,
    )


def speed(device: Device, precision: Precision) -> float:
    """Return the assumed FLOP/s of a training."""
    return device.utilisation * device.peak(precision)


def shape(study: Study) -> tuple[int, int, int]:
    """Return the shape of an image."""
    return 3, study.data.image_size, study.data.image_size


def encoder_of(study: Study, name: str) -> VisionTransformer:
    """Return the encoder that an arm starts from, as stages/objectives/pretraining.py builds it."""
    vit, recipe = recipe_of(study, name)
    encoder = build_encoder(vit=vit, image_size=study.data.image_size, seed=0, drop_path=recipe.drop_path)
    share_positions(encoder)
    return encoder


def pretraining_step(study: Study, name: str, *, rows: int, at_once: int) -> Step:
    """Return the cost of a pre-training step of an arm. An arm without training costs a step of its encoder.

    rows: images per step and device
    at_once: images per pass of the encoder
    """
    arm, precision = arm_of(study, name), recipe_of(study, name)[1].precision
    objective = find(Objective, arm.objective)
    if arm.gradient_ratio is not None:
        arm = arm.model_copy(update={"cl_weight": 0.5})  # the first batch would set this weight
    classes = CLASSES if objective.needs_labels else []
    with torch.device("meta"):
        alone = Encoding(encoder_of(study, name))
        task: Any = alone
        if objective.build is not None:
            settings = objectives_of(study, name)
            task = objective.build(
                encoder_of(study, name), arm=arm, settings=settings, seed=0, classes=classes
            )
    pair = (torch.zeros(2, *shape(study)),)  # images
    views = pair
    if objective.build is not None:
        labels = {"labels": torch.zeros(2, 1, dtype=torch.long)} if classes else {}
        draws = Draws(torch.Generator(), batch=2)
        views = task.views(*pair, normalize=lambda view: view, draws=draws, **labels)
    # If the loss needs the whole batch, every part is encoded twice: for the loss and for its gradient.
    twice = at_once < rows and not task.separable
    autocast = torch.autocast("cpu", dtype=DTYPES[precision], enabled=precision != "32-true")
    with without_content():
        for module in {*alone.modules(), *task.modules()}:
            module.to_empty(device="cpu", recurse=False)
        memory = expected_memory(
            alone if twice else task, like(pair if twice else views, rows=at_once), autocast=autocast
        )
        for module in task.modules() if twice else ():
            if isinstance(module, Task):
                module.micro_batch = 1
        return Step(
            flop=count_flops(task, like(views, rows=2)) / 2,
            flop_of_encoder=count_flops(alone, like(pair, rows=2)) / 2,
            weights=weight_bytes(task),
            activations=MEBI * memory.activations / at_once,
            views=sum(view.nbytes for view in views) / 2,
            encoder=state_bytes(task.encoder),
            resume=state_bytes(task) + 2 * 4 * sum(p.numel() for p in task.parameters() if p.requires_grad),
        )


def like(views: tuple[Tensor, ...], *, rows: int) -> tuple[Tensor, ...]:
    """Return views (B, ...) of `rows` images, without content."""
    return tuple(torch.empty(rows, *view.shape[1:], dtype=view.dtype) for view in views)


@contextmanager
def without_content() -> Iterator[None]:
    """Create tensors without content inside this block: they have a shape and a type, and compute nothing."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        _window_means.cache_clear()  # or a later training in this process would get a tensor without content


def state_bytes(module: torch.nn.Module) -> int:
    """Return the bytes of all weights and buffers."""
    return sum(value.nbytes for value in module.state_dict().values() if isinstance(value, Tensor))
