"""Start fine-tuning from a linear probe, because a random head would first distort the features.

Source: Kumar et al. 2022 (LP-FT).
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from stages.data.arrays import Manifest, Split, batches, in_order, normalize, unit_range
from stages.heads.classifier import Classifier
from stages.probes.linear import LinearHead, held_out, predict, train_heads
from stages.study.seeds import generator

RATES = (0.03, 0.1, 0.3, 1.0)  # of SGD; validation chooses one for each label set
EPOCHS, BATCH_SIZE, HELD_OUT = 30, 512, 0.1


def start_from_probe(
    task: Classifier, split: Split, images: np.ndarray, manifest: Manifest, *, batch_size: int, seed: int
) -> None:
    """Set the head of a classifier to linear probes of its encoder, one for each label set.

    images:     (n,) indices of the training images in the split
    batch_size: of the passes without gradient
    """
    features = pooled(task, split, images, manifest, batch_size=batch_size)
    layers = []
    for name, classes in zip(manifest.labels, task.classes, strict=True):
        labels = torch.from_numpy(np.asarray(split.labels[name])[images]).to(features.device)
        draws = generator(seed, "finetune", "probe", name)
        layers.append(fit(features, labels, classes=classes, draws=draws).layer())
    head = cast(nn.Linear, task.encoder.head)
    with torch.no_grad():
        head.weight.copy_(torch.cat([layer.weight for layer in layers]))
        head.bias.copy_(torch.cat([layer.bias for layer in layers]))


@torch.no_grad()
def pooled(
    task: Classifier, split: Split, images: np.ndarray, manifest: Manifest, *, batch_size: int
) -> Tensor:
    """Return the inputs of a classifier's head for some images, (n, D) in float32. images: (n,) indices"""
    device = next(task.parameters()).device
    task.eval()
    parts = []
    for batch in batches(split.images, in_order(images, batch_size=batch_size)):
        views = normalize(unit_range(batch.to(device)), mean=manifest.mean, std=manifest.std)
        tokens = task.encoder.forward_features(views)
        parts.append(task.encoder.forward_head(tokens, pre_logits=True).float())
    return torch.cat(parts)


def fit(features: Tensor, labels: Tensor, *, classes: int, draws: torch.Generator) -> LinearHead:
    """Fit a linear probe; a held-out share chooses its learning rate. features: (n, D), labels: (n,)"""
    validation, fitting = (
        part.to(labels.device) for part in held_out(len(labels), share=HELD_OUT, generator=draws)
    )
    mean, std = features[fitting].mean(dim=0), features[fitting].std(dim=0).clamp(min=1e-6)
    weights = train_heads(
        (features[fitting] - mean) / std,
        labels[fitting],
        classes=classes,
        rates=torch.tensor(RATES, device=labels.device),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        generator=draws,
    )  # (R, D+1, C)
    hits = predict((features[validation] - mean) / std, weights) == labels[validation]
    return LinearHead(weights[int(hits.float().mean(dim=1).argmax())], mean=mean, std=std)
