"""Train linear probes on augmented images and put the result into the store."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor

from stages.data.arrays import (
    Manifest,
    Split,
    batches,
    in_order,
    normalize,
    open_split,
    read_manifest,
    unit_range,
)
from stages.encoders.vit import as_trained, load_encoder
from stages.probes.accuracy import evaluated
from stages.probes.augmented import VARIES, Heads, choose, chosen_predictions
from stages.probes.linear import held_out
from stages.study.paths import model_dir, write_json, write_table
from stages.study.seeds import derive, generator
from stages.study.store import Training
from stages.study.study import Study
from stages.training.checkpoints import Checkpoints
from stages.training.devices import fit_to_device, machine
from stages.training.loop import train

NAME = "linear_augmented"


def train_heads(params: Study, name: str, seed: int, training: Training, fabric: Fabric) -> None:
    """Train linear heads on one frozen encoder, and store their test accuracy and predictions.

    Raises StudyError if a batch is larger than the training set, or if the loss is not finite.
    """
    settings, manifest = params.linear_augmented, as_trained(model_dir(name, seed), read_manifest())
    train_split, test_split = open_split("train"), open_split("test")
    validation, fitting = (
        indices.numpy()
        for indices in held_out(
            len(train_split.images),
            share=settings.validation_fraction,
            generator=generator(seed, "probe", NAME),  # chooses the same images for every arm
        )
    )
    classes = {labels: len(names) for labels, names in manifest.labels.items()}
    targets = torch.from_numpy(np.stack([train_split.labels[labels] for labels in classes], axis=1))
    task = Heads(
        load_encoder(model_dir(name, seed)), classes=list(classes.values()), rates=settings.learning_rates
    )
    fit_to_device(task, runtime=params.runtime, fabric=fabric)
    train(
        task,
        inputs=lambda images, indices, draws: task.views(
            unit_range(images),
            targets[fitting[indices]],
            scale_min=settings.crop_scale_min,
            normalize=lambda view: normalize(view, mean=manifest.mean, std=manifest.std),
            draws=draws,
        ),
        batches=lambda epoch, order: batches(
            train_split.images,
            [fitting[indices] for indices in order],
            workers=params.runtime.workers,
            pin_memory=fabric.device.type == "cuda",
        ),
        images=len(fitting),
        recipe=settings,
        optimizer=task.optimizer(),
        seed=derive(seed, NAME),
        fabric=fabric,
        checkpoints=Checkpoints(f"{NAME} {name} seed {seed}", training.directory),
    )
    if not fabric.is_global_zero:
        return
    batch_size = params.runtime.eval_batch_size
    valid = predictions(task, train_split, validation, manifest, batch_size=batch_size)
    test = predictions(task, test_split, np.arange(len(test_split.images)), manifest, batch_size=batch_size)
    metrics: dict[str, Any] = {}
    tables = []
    for number, labels in enumerate(classes):
        places, choice, details = choose(
            valid[number], targets[validation, number], kinds=task.kinds, rates=task.rates
        )
        answers = chosen_predictions(test[number], places)
        numbers, table = evaluated(
            {kind: predicted.numpy() for kind, predicted in answers.items()},
            choice,
            test_split.labels[labels],
            classes=classes[labels],
            labels=labels,
            varies=VARIES,
        )
        metrics[labels] = numbers | details
        tables.append(table)

    def write(directory: Path) -> None:
        write_table(directory / "predictions.csv", pd.concat(tables), seed=seed)
        write_json(directory / "metrics.json", {"labels": metrics})

    training.keep(write, seed=seed, **machine(fabric, precision=settings.precision))


def predictions(
    task: Heads, split: Split, chosen: np.ndarray, manifest: Manifest, *, batch_size: int
) -> list[Tensor]:
    """Return the predictions of all heads for images without augmentation, (R, K, n) for each label set.

    chosen: (n,) indices of images
    """
    device = task.heads[0].device
    order = in_order(chosen, batch_size=batch_size)
    parts = [
        [
            predicted.cpu()
            for predicted in task.predict(
                normalize(unit_range(batch.to(device)), mean=manifest.mean, std=manifest.std)
            )
        ]
        for batch in batches(split.images, order)
    ]
    return [torch.cat(of_set, dim=2) for of_set in zip(*parts, strict=True)]
