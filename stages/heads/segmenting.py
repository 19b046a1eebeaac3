"""Segment images with one encoder, frozen and fine-tuned, and put the result into the store."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from stages.data.arrays import Split, batches, open_split, read_manifest
from stages.data.evaluation import evaluation_subset
from stages.encoders.vit import as_trained, load_encoder
from stages.heads.segmenter import Segmenter, predict, scores_to_pixels
from stages.probes.segmentation import (
    IGNORED,
    NearestPatches,
    fit_linear,
    mean_iou,
    mean_iou_interval,
    overlaps,
    patch_classes,
    pixel_classes,
)
from stages.study.paths import features_dir, features_name, model_dir, write_json, write_table
from stages.study.seeds import derive, generator
from stages.study.store import Training
from stages.study.study import Study
from stages.training.checkpoints import Checkpoints
from stages.training.devices import fit_to_device, machine
from stages.training.loop import train

COLUMNS = ["image", "way", "class", "intersection", "union"]


def train_segmenter(params: Study, name: str, seed: int, training: Training, fabric: Fabric) -> None:
    """Segment held-out images with a linear head, nearest patches and the fine-tuned encoder; store overlaps.

    The classes are "none" (no object) and the classes of the first label set. The data must have masks.
    Raises StudyError if the loss is not finite.
    """
    manifest = as_trained(model_dir(name, seed), read_manifest())
    train_split, test_split = open_split("train"), open_split("test")
    labels, names = next(iter(manifest.labels.items()))
    classes = ["none", *names]
    settings = params.segmentation
    tokens, test_tokens = (
        load_file(features_dir(name, seed) / features_name("tokens", split)) for split in ("train", "test")
    )
    drawn = torch.randperm(len(tokens["image"]), generator=generator(seed, "segment"))
    chosen = drawn[: settings.train_images].sort().values
    images = tokens["image"][chosen].numpy()
    cached = test_tokens["image"].numpy()
    measured = evaluation_subset(len(cached), settings.test_images, seed=params.seed)
    test_images = cached[measured]
    truth, wanted = (
        targets_of(split, labels, rows) for split, rows in ((test_split, test_images), (train_split, images))
    )
    patches, held_back = tokens["patches"][chosen], test_tokens["patches"][torch.from_numpy(measured)]
    coarse = patch_classes(wanted, grid=round(patches.shape[1] ** 0.5), classes=len(classes))
    head, rate = fit_linear(
        patches,
        coarse,
        classes=len(classes),
        settings=settings,
        generator=generator(seed, "segment", "linear"),
    )
    nearest = NearestPatches(
        patches, coarse, classes=len(classes), settings=settings, generator=generator(seed, "segment", "knn")
    )
    pixels = {
        way: torch.cat([scores_to_pixels(scores(part), truth) for part in held_back.split(100)])
        for way, scores in (("linear", head), ("knn", nearest))
    }

    # Fine-tune, starting from the linear head.
    recipe = params.finetune.model_copy(update={"epochs": settings.finetune_epochs})
    task = Segmenter(load_encoder(model_dir(name, seed), drop_path=recipe.drop_path), head, manifest=manifest)
    fit_to_device(task, runtime=params.runtime, fabric=fabric)
    train(
        task,
        inputs=lambda pictures, places, draws: task.views(pictures, wanted[places], draws=draws),
        batches=lambda epoch, order: batches(
            train_split.images, [images[places] for places in order], workers=params.runtime.workers
        ),
        images=len(images),
        recipe=recipe,
        betas=(0.9, 0.999),
        layer_decay=recipe.layer_decay,
        seed=derive(seed, "segment"),
        fabric=fabric,
        checkpoints=Checkpoints(f"segment {name} seed {seed}", training.directory),
    )
    if not fabric.is_global_zero:
        return
    pixels["fine-tuned"] = predict(
        task, test_split, test_images, batch_size=params.runtime.eval_batch_size, like=wanted
    )

    tables, ways = [], {}
    for way, predicted in pixels.items():
        both, either = overlaps(predicted, truth, classes=len(classes))
        low, high = mean_iou_interval(both, either, seed=derive(params.seed, "segment", way))
        ways[way] = {
            "miou": mean_iou(both, either),
            "low": low,
            "high": high,
            "pixel_accuracy": float((predicted == truth)[truth != IGNORED].float().mean()),
            "images": len(truth),
        }
        tables.append(rows_of(both, either, images=test_images, way=way))
    metrics: dict[str, Any] = {"ways": ways, "classes": classes, "learning_rate": rate}

    def write(directory: Path) -> None:
        write_table(directory / "overlaps.csv", pd.concat(tables), seed=seed)
        write_json(directory / "metrics.json", metrics)

    training.keep(write, seed=seed, **machine(fabric, precision=recipe.precision))


def targets_of(split: Split, labels: str, images: NDArray[np.int64]) -> Tensor:
    """Return the true class of every pixel of some images, (n, H, W).

    images: (n,) indices
    """
    assert split.masks is not None
    return pixel_classes(
        torch.from_numpy(np.asarray(split.masks[images])),
        torch.from_numpy(np.asarray(split.labels[labels][images]).astype(np.int64)),
        None if split.ignored is None else torch.from_numpy(np.asarray(split.ignored[images])),
    )


def rows_of(
    both: NDArray[np.int64], either: NDArray[np.int64], *, images: NDArray[np.int64], way: str
) -> pd.DataFrame:
    """Return one row for each image and each class in its truth or its prediction."""
    place, name = np.nonzero(either)
    values = (images[place], way, name, both[place, name], either[place, name])
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))
