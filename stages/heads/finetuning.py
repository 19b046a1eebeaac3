"""Fine-tune one encoder with a classification head and put the result into the store."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric

from stages.data.arrays import Split, batches, open_split, read_manifest
from stages.data.randaugment import randaugmented
from stages.encoders.vit import as_trained, load_encoder
from stages.heads.classifier import Classifier, joint_labels, predict, save_classifier
from stages.heads.probed import start_from_probe
from stages.probes.accuracy import prediction_table, summarize
from stages.study.errors import StudyError
from stages.study.paths import model_dir, write_json, write_table
from stages.study.seeds import derive, generator
from stages.study.store import Training
from stages.study.study import Study
from stages.training.checkpoints import Checkpoints
from stages.training.devices import fit_to_device, machine
from stages.training.loop import train
from stages.training.settings import Finetune, Pooling


def train_classifier(
    params: Study, name: str, seed: int, training: Training, fabric: Fabric, *, pooling: Pooling
) -> None:
    """Fine-tune one encoder with a linear head for each label set, and store it with its predictions.

    Raises StudyError if the loss is not finite, if the pooling needs a class token and there is none, or if
    pairs of images shall be mixed and a process has an odd number of them.
    """
    settings, source = params.finetune, model_dir(name, seed)
    manifest = as_trained(source, read_manifest())
    train_split, test_split = open_split("train"), open_split("test")
    classes = [len(names) for names in manifest.labels.values()]
    start = derive(seed, "finetune")
    encoder = load_encoder(source, drop_path=settings.drop_path)
    if pooling == "token" and not encoder.has_class_token:
        raise StudyError(f"finetune.poolings: token: the encoder of {name} has no class token; use mean")
    task = Classifier(
        encoder,
        classes=classes,
        settings=settings,
        manifest=manifest,
        seed=derive(start, "head"),
        pooling=pooling,
    )
    if task.mixup and settings.batch_size // fabric.world_size % 2:
        raise StudyError(
            f"finetune.batch_size {settings.batch_size} gives a process an odd number of images, but mixup "
            "and cutmix need pairs; change it or runtime.devices"
        )
    fit_to_device(task, runtime=params.runtime, fabric=fabric)
    targets = joint_labels(train_split, manifest)
    validation, fitting = divided(len(train_split.images), settings=settings, seed=seed)
    if settings.head == "linear_probe":
        task.to(fabric.device)
        start_from_probe(
            task, train_split, fitting, manifest, batch_size=params.runtime.eval_batch_size, seed=seed
        )

    history = train(
        task,
        inputs=lambda images, indices, draws: task.views(images, targets[fitting[indices]], draws=draws),
        batches=lambda epoch, order: randaugmented(
            batches(
                train_split.images,
                [fitting[indices] for indices in order],
                workers=params.runtime.workers,
            ),
            order=[fitting[indices] for indices in order],
            policy=settings.randaugment,
            manifest=manifest,
            seed=derive(start, "randaugment", epoch),
        ),
        images=len(fitting),
        recipe=settings,
        betas=(0.9, 0.999),
        layer_decay=settings.layer_decay,
        seed=start,
        fabric=fabric,
        checkpoints=Checkpoints(f"finetune {name} seed {seed}", training.directory),
    )
    if not fabric.is_global_zero:
        return

    def predicted(split: Split, images: np.ndarray) -> list[np.ndarray]:
        """Predict the class of some images in each label set, (n,) each."""
        scores = predict(
            task,
            split,
            images,
            manifest,
            batch_size=params.runtime.eval_batch_size,
            device=fabric.device,
        )
        return [of_set.argmax(dim=1).numpy() for of_set in scores.split(classes, dim=1)]

    metrics: dict[str, Any] = {"pooling": pooling, "labels": {}}
    tables = []
    for labels, answers, count in zip(
        manifest.labels, predicted(test_split, np.arange(len(test_split.images))), classes, strict=True
    ):
        truth = test_split.labels[labels]
        metrics["labels"][labels] = summarize(answers, truth, classes=count)
        tables.append(prediction_table(answers, truth, labels=labels, pooling=pooling))
    if len(validation):
        metrics["validation"] = {
            labels: float((answers == train_split.labels[labels][validation]).mean())
            for labels, answers in zip(manifest.labels, predicted(train_split, validation), strict=True)
        }

    def write(directory: Path) -> None:
        write_table(directory / "predictions.csv", pd.concat(tables), seed=seed)
        write_table(directory / "history.csv", pd.DataFrame(history).astype({"epoch": int}), seed=seed)
        write_json(directory / "metrics.json", metrics)
        save_classifier(directory, task, source=source)

    training.keep(write, seed=seed, **machine(fabric, precision=settings.precision))


def divided(images: int, *, settings: Finetune, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the validation images, which choose the pooling, and of the fitted images.

    There are no validation images if there is only one pooling.
    images: number of training images
    seed:   determines both sets, which are the same for every arm and pooling
    """
    order = torch.randperm(images, generator=generator(seed, "finetune", "images"))
    count = max(1, round(settings.validation_fraction * images)) if len(settings.poolings) > 1 else 0
    return order[:count].numpy(), order[count:][: settings.train_images].numpy()
