"""Predictions of a linear probe and of a fine-tuned encoder in all trials, as tables and metrics."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.corruptions.trials import Trial, pictures
from stages.data.arrays import Manifest, normalize, open_split
from stages.encoders.vit import pooled_features
from stages.heads.reinitialised import initial_encoder, reinitialised
from stages.heads.tuned_head import TunedHead
from stages.probes import linear, shape_bias
from stages.probes.settings import Linear
from stages.study.paths import model_dir
from stages.study.seeds import generator


def probed(
    train: linear.Features, test: linear.Features, manifest: Manifest, *, settings: Linear, seed: int
) -> dict[str, np.ndarray]:
    """Return the predictions of the linear probe for the images of all trials, by label set.

    The probe is the same as in the stage `probe`: same settings, same random numbers.
    """
    predicted = {}
    for labels, names in manifest.labels.items():
        targets = torch.from_numpy(open_split("train").labels[labels]).to(train["mean"].device)
        predictions, choice, _ = linear.fit_predict(
            train,
            targets,
            test,
            classes=len(names),
            settings=settings,
            generator=generator(seed, "probe", "linear", labels),  # as in the stage `probe`
        )
        predicted[labels] = predictions[max(choice, key=lambda key: choice[key])].cpu().numpy()
    return predicted


def without_blocks(
    clean: Trial,
    tuned: VisionTransformer,
    head: TunedHead,
    manifest: Manifest,
    *,
    arm: str,
    seed: int,
) -> pd.DataFrame:
    """Return the predictions of the fine-tuned encoder for clean images, with one block reset at a time.

    The level of these trials is the number of the reset block, from 1.
    """
    device = head.weight.device
    initial = initial_encoder(model_dir(arm, seed)).to(device)
    trials, logits = [], []
    for block, encoder in reinitialised(tuned, initial):
        for batch in pictures(open_split("test"), clean.images):
            inputs = normalize(batch.to(device), mean=manifest.mean, std=manifest.std)
            logits.append(head(pooled_features(encoder, inputs)))
        trials.append(clean._replace(name="reinitialised", level=float(block), batches=iter(())))
    return rows(trials, tuned_classes(torch.cat(logits), manifest), head="fine-tuned")


def tuned_classes(logits: Tensor, manifest: Manifest) -> dict[str, np.ndarray]:
    """Return the predicted classes by label set. logits: (n, sum of classes)"""
    parts = logits.split([len(names) for names in manifest.labels.values()], dim=1)
    return {
        labels: part.argmax(dim=1).cpu().numpy() for labels, part in zip(manifest.labels, parts, strict=True)
    }


def cue_conflict(
    clean: Trial,
    train: linear.Features,
    test: linear.Features,
    manifest: Manifest,
    *,
    settings: Linear,
    seed: int,
) -> tuple[Trial, dict[str, np.ndarray]] | None:
    """Return the trial of cue conflicts, with the predictions of a probe that prefers neither cue.

    Cue conflicts are images whose shape and texture belong to different classes.
    returns: None unless the data have as many shapes as textures, and enough images in which they agree
    """
    if (
        set(manifest.labels) != {"shape", "texture"}
        or len({len(names) for names in manifest.labels.values()}) > 1
    ):
        return None
    device = train["mean"].device
    labels = {name: torch.from_numpy(open_split("train").labels[name]).to(device) for name in manifest.labels}
    differ = clean.truth["shape"] != clean.truth["texture"]
    rows_of_clean = torch.from_numpy(np.flatnonzero(differ)).to(device)
    predicted = shape_bias.decide(
        train,
        shape=labels["shape"],
        texture=labels["texture"],
        test={pooling: features[rows_of_clean] for pooling, features in test.items()},
        classes=len(manifest.labels["shape"]),
        settings=settings,
        generator=generator(seed, "robustness", "cue_conflict"),
    )
    if predicted is None:
        return None
    truth, rival = ({"shape": clean.truth[cue][differ]} for cue in ("shape", "texture"))
    conflict = Trial("cue_conflict", 0.0, 0.0, clean.images[differ], truth, rival, iter(()))
    return conflict, {"shape": predicted.cpu().numpy()}


def rows(trials: list[Trial], predicted: dict[str, np.ndarray], *, head: str) -> pd.DataFrame:
    """Return a row per image, trial and label set. predicted: label set -> (images of all trials,)"""
    tables, start = [], 0
    for trial in trials:
        end = start + len(trial.images)
        tables += [
            pd.DataFrame(
                {
                    "trial": trial.name,
                    "level": trial.level,
                    "amplitude": trial.amplitude,
                    "head": head,
                    "labels": labels,
                    "image": trial.images,
                    "truth": truth,
                    "rival": trial.rival.get(labels, np.full(len(truth), -1)),
                    "predicted": predicted[labels][start:end],
                }
            )
            for labels, truth in trial.truth.items()
        ]
        start = end
    return pd.concat(tables)


def metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Return accuracy by head, label set, trial and level (mean over amplitudes), and the shape bias.

    The shape bias is the number of decisions for the shape over that for shape or texture.
    Source: Geirhos et al. 2019, §2.
    """
    values: dict[str, Any] = {}
    for (head, labels, trial), part in table.groupby(["head", "labels", "trial"], sort=False):
        trials = values.setdefault(str(head), {}).setdefault(str(labels), {}).setdefault(str(trial), {})
        for level, at_level in part.groupby("level"):
            hits = int((at_level["truth"] == at_level["predicted"]).sum())
            trials[f"{level:g}" if level else "accuracy"] = hits / len(at_level)
        competing = part[(part["rival"] >= 0) & (part["rival"] != part["truth"])]
        for_shape = int((competing["predicted"] == competing["truth"]).sum())
        for_texture = int((competing["predicted"] == competing["rival"]).sum())
        if for_shape + for_texture:
            trials["shape_bias"] = for_shape / (for_shape + for_texture)
    return values
