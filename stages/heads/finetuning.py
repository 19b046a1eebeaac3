"""One fine-tuning: an encoder with its head, and what both leave in the store."""

from pathlib import Path

import pandas as pd
from lightning_fabric import Fabric

from stages.data.arrays import batches, open_split, read_manifest
from stages.data.randaugment import randaugmented
from stages.encoders.vit import as_trained, load_encoder
from stages.heads.classifier import Classifier, joint_labels, predict, save_classifier
from stages.probes.accuracy import prediction_table, summarize
from stages.study.paths import model_dir, write_json, write_table
from stages.study.seeds import derive
from stages.study.store import Training
from stages.study.study import Study
from stages.training.checkpoints import Checkpoints
from stages.training.devices import fit_to_device, machine
from stages.training.loop import train


def train_classifier(params: Study, name: str, seed: int, training: Training, fabric: Fabric) -> None:
    """Fine-tune one encoder with a linear head for each label set, and keep it with its predictions.

    Raises StudyError if the loss stops being finite.
    """
    settings, source = params.finetune, model_dir(name, seed)
    manifest = as_trained(source, read_manifest())
    train_split, test_split = open_split("train"), open_split("test")
    classes = [len(names) for names in manifest.labels.values()]
    start = derive(seed, "finetune")
    task = Classifier(
        load_encoder(source, drop_path=settings.drop_path),
        classes=classes,
        settings=settings,
        manifest=manifest,
        seed=derive(start, "head"),
    )
    fit_to_device(task, runtime=params.runtime, fabric=fabric)
    targets = joint_labels(train_split, manifest)
    history = train(
        task,
        inputs=lambda images, indices, draws: task.views(images, targets[indices], draws=draws),
        batches=lambda epoch, order: randaugmented(
            batches(train_split.images, order, workers=params.runtime.workers),
            order=order,
            policy=settings.randaugment,
            manifest=manifest,
            seed=derive(start, "randaugment", epoch),
        ),
        images=len(train_split.images),
        recipe=settings,
        betas=(0.9, 0.999),
        layer_decay=settings.layer_decay,
        seed=start,
        fabric=fabric,
        checkpoints=Checkpoints(f"finetune {name} seed {seed}", training.directory),
    )
    if not fabric.is_global_zero:
        return
    logits = predict(
        task, test_split, manifest, batch_size=params.runtime.eval_batch_size, device=fabric.device
    )
    metrics, tables = {}, []
    for labels, scores in zip(manifest.labels, logits.split(classes, dim=1), strict=True):
        predicted, truth = scores.argmax(dim=1).numpy(), test_split.labels[labels]
        metrics[labels] = summarize(predicted, truth, classes=scores.shape[1])
        tables.append(prediction_table(predicted, truth, labels=labels, pooling="mean"))

    def write(directory: Path) -> None:
        write_table(directory / "predictions.csv", pd.concat(tables), seed=seed)
        write_table(directory / "history.csv", pd.DataFrame(history).astype({"epoch": int}), seed=seed)
        write_json(directory / "metrics.json", {"labels": metrics})
        save_classifier(directory, task, source=source)

    training.keep(write, seed=seed, **machine(fabric, precision=settings.precision))
