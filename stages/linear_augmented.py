"""Probe one arm linearly on augmented images: `python -m stages.linear_augmented --arm NAME`."""

import argparse
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stages.data.arrays import Manifest, Split, batches, in_order, normalize, open_split, read_manifest
from stages.encoders.vit import as_trained, load_encoder
from stages.probes.accuracy import evaluated
from stages.probes.augmented import VARIES, Heads, choose, chosen_predictions, protocol
from stages.probes.linear import held_out
from stages.study.command import run
from stages.study.fingerprint import fingerprint, training_code
from stages.study.params import load_params
from stages.study.paths import (
    file_digest,
    model_dir,
    probe_metrics,
    probe_predictions,
    read_json,
    write_json,
    write_text,
)
from stages.study.seeds import derive, generator
from stages.training.checkpoints import Checkpoints
from stages.training.devices import circumstances, fit_to_device, make_fabric
from stages.training.loop import train

NAME = "linear_augmented"


def main() -> None:
    """Read the command line and probe."""
    parser = argparse.ArgumentParser(prog="python -m stages.linear_augmented", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    name = parser.parse_args().arm
    run(
        f"{NAME}@{name}",
        lambda: linear_augmented(name),
        about=lambda: circumstances(load_params().runtime),
        writes=probe_metrics(NAME, name),
    )


def linear_augmented(name: str) -> str:
    """Train linear heads on the frozen encoder of one arm, and write test accuracy and predictions.

    Raises StudyError if a batch is larger than the training set, or if the loss stops being finite.
    """
    params = load_params(stage=NAME, arm=name)
    settings, manifest = params.linear_augmented, as_trained(model_dir(name), read_manifest())
    train_split, test_split = open_split("train"), open_split("test")
    fabric = make_fabric(params.runtime)
    validation, fitting = (
        indices.numpy()
        for indices in held_out(
            len(train_split.images),
            share=settings.validation_fraction,
            generator=generator(params.seed, "probe", NAME),  # the same images for every arm
        )
    )
    # Of the arm, so that replicates differ in their augmentation as well.
    seed = derive(read_json(model_dir(name) / "encoder.json")["seed"], NAME)
    classes = {labels: len(names) for labels, names in manifest.labels.items()}
    targets = torch.from_numpy(np.stack([train_split.labels[labels] for labels in classes], axis=1))
    task = Heads(load_encoder(model_dir(name)), classes=list(classes.values()), rates=settings.learning_rates)
    fit_to_device(task, runtime=params.runtime, fabric=fabric)
    train(
        task,
        inputs=lambda images, indices, draws: task.views(
            images.float() / 255,
            targets[fitting[indices]],
            scale_min=settings.crop_scale_min,
            normalize=lambda view: normalize(255 * view, mean=manifest.mean, std=manifest.std),
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
        seed=seed,
        fabric=fabric,
        checkpoints=Checkpoints(
            f"{NAME}-{name}",
            fingerprint(
                encoder=file_digest(model_dir(name) / "encoder.safetensors"),
                settings=dict(settings),  # those that the stage declares
                seed=seed,
                split=params.seed,
                data=manifest.digest,
                code=training_code("stages.linear_augmented"),
            ),
        ),
    )
    if not fabric.is_global_zero:
        return ""
    batch_size = params.runtime.eval_batch_size
    valid = predictions(task, train_split, validation, manifest, batch_size=batch_size)
    test = predictions(task, test_split, np.arange(len(test_split.images)), manifest, batch_size=batch_size)
    metrics: dict[str, Any] = {}
    tables = []
    for number, labels in enumerate(classes):
        places, choice, told = choose(
            valid[number], targets[validation, number], kinds=task.kinds, rates=task.rates
        )
        answers = chosen_predictions(test[number], places)
        found, table = evaluated(
            {kind: predicted.numpy() for kind, predicted in answers.items()},
            choice,
            test_split.labels[labels],
            classes=classes[labels],
            labels=labels,
            varies=VARIES,
        )
        metrics[labels] = found | told
        tables.append(table)
    write_text(probe_predictions(NAME, name), pd.concat(tables).to_csv(index=False, lineterminator="\n"))
    write_json(probe_metrics(NAME, name), {"labels": metrics, "protocol": protocol(settings)})
    return ", ".join(
        f"{labels} {value['accuracy']:.1%} ({value[VARIES]})" for labels, value in metrics.items()
    )


def predictions(
    task: Heads, split: Split, chosen: np.ndarray, manifest: Manifest, *, batch_size: int
) -> list[Tensor]:
    """What all heads see in images of a split as they are, in float32; for each label set (R, K, n)."""
    device = task.heads[0].device
    order = in_order(chosen, batch_size=batch_size)
    parts = [
        [
            predicted.cpu()
            for predicted in task.predict(normalize(batch.to(device), mean=manifest.mean, std=manifest.std))
        ]
        for batch in batches(split.images, order)
    ]
    return [torch.cat(of_set, dim=2) for of_set in zip(*parts, strict=True)]


if __name__ == "__main__":
    main()
