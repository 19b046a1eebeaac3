"""Pre-train one encoder and put the result into the store."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor

from stages.data.arrays import batches, normalize, read_manifest, unit_range
from stages.encoders.architecture import build_encoder, share_positions
from stages.encoders.vit import save_encoder
from stages.objectives.contract import Objective
from stages.objectives.overrides import objectives_of
from stages.objectives.reading import open_split, train
from stages.study.lookup import find
from stages.study.params import arm_of
from stages.study.paths import write_table
from stages.study.recipe import recipe_of
from stages.study.seeds import Draws, derive
from stages.study.store import Training
from stages.study.study import Study
from stages.training.checkpoints import Checkpoints
from stages.training.devices import fit_to_device, machine
from stages.training.loop import History
from stages.training.snapshots import Snapshots, snapshot_steps
from stages.training.task import Artifacts


def train_encoder(params: Study, name: str, seed: int, training: Training, fabric: Fabric) -> None:
    """Train one encoder of an arm and store it with its history.

    Raises StudyError if the loss is not finite.
    """
    arm = arm_of(params, name)
    vit, recipe = recipe_of(params, name)
    objective = find(Objective, arm.objective)
    manifest = read_manifest()
    image_size = params.data.image_size
    origin: dict[str, Any] = {}
    artifacts: Artifacts | None = None
    if objective.opens is not None:
        encoder, vit, artifacts, origin = objective.opens(arm, image_size=image_size)
    else:
        encoder = build_encoder(
            vit=vit, image_size=image_size, seed=derive(seed, "init"), drop_path=recipe.drop_path
        )
        share_positions(encoder)
    # Only objectives that declare it receive labels.
    classes = [len(names) for names in manifest.labels.values()] if objective.needs_labels else []
    task: Any = None
    if objective.build is not None:
        task = objective.build(
            encoder,
            arm=arm,
            settings=objectives_of(params, name),
            seed=derive(seed, "heads"),
            classes=classes,
        )
    history: History = []
    epochs = (arm.stop_epoch or recipe.epochs) if task else 0
    about: dict[str, Any] = {"objective": arm.objective, "seed": seed}
    split = open_split("train")
    steps = epochs * (len(split.images) // recipe.batch_size)

    def save_snapshot(folder: Path, share: float) -> None:
        progress = {"share": share, "images_seen": snapshots.steps[share] * recipe.batch_size}
        save_encoder(folder, encoder, vit=vit, image_size=image_size, about=about | progress)

    snapshots = Snapshots(
        training.directory, snapshot_steps(recipe.snapshots, steps=steps), save=save_snapshot
    )
    if task is not None:
        fit_to_device(task, runtime=params.runtime, fabric=fabric)
        labels = torch.from_numpy(np.stack(list(split.labels.values()), axis=1))  # (n, label sets)

        def inputs(images: Tensor, indices: np.ndarray, draws: Draws) -> tuple[Tensor, ...]:
            supervision = {"labels": labels[indices].to(images.device)} if objective.needs_labels else {}
            return task.views(
                unit_range(images),
                normalize=lambda view: normalize(view, mean=manifest.mean, std=manifest.std),
                draws=draws,
                **supervision,
            )

        history = train(
            task,
            inputs=inputs,
            batches=lambda epoch, order: batches(
                split.images, order, workers=params.runtime.workers, pin_memory=fabric.device.type == "cuda"
            ),
            images=len(split.images),
            recipe=recipe,
            betas=(0.9, recipe.beta2),
            layer_decay=None,
            decay_all=recipe.decay_all,
            stop_epoch=arm.stop_epoch,
            after_step=snapshots.after_step,
            min_lr=recipe.min_lr,
            milestone=recipe.milestone if recipe.schedule == "multistep" else None,
            weight_decay_end=recipe.weight_decay_end,
            seed=derive(seed, "pretrain"),
            fabric=fabric,
            checkpoints=Checkpoints(f"pretrain {name} seed {seed}", training.directory),
        )
    if not fabric.is_global_zero:
        return

    def write(directory: Path) -> None:
        end = {"epochs": epochs, "images_seen": steps * recipe.batch_size} | origin
        save_encoder(directory, encoder, vit=vit, image_size=image_size, about=about | end)
        snapshots.copy_to(directory)
        columns = list(history[0]) if history else ["epoch", "loss", "grad_norm", "lr"]
        table = pd.DataFrame(history, columns=columns).astype({"epoch": int})
        write_table(directory / "history.csv", table, seed=seed)
        results = task.artifacts() if task is not None else artifacts
        if results is not None:
            for write_file in results.files.values():
                write_file(directory)
            for key, rows in results.tables.items():
                if rows:
                    write_table(directory / f"{key}.csv", pd.DataFrame(rows), seed=seed)

    training.keep(write, seed=seed, **machine(fabric, precision=recipe.precision))
