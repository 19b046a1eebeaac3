"""Linear probe on cached frozen features, many learning rates trained at once.

Features are standardised without learned scale (as MAE's affine-free batch norm, He et al. 2022 App. A.1),
and each learning rate has a head of its own; the heads see the same batches. Learning rate and pooling are
chosen on a split of the training set, never on the test set.
Source: Oquab et al. 2023 (DINOv2), App. B.3 for training the heads of a grid together.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from stages.study.params import Linear

Features = dict[str, Tensor]


def protocol(settings: Linear) -> str:
    """The protocol in words, to stand beside every number."""
    return (
        f"linear head on cached standardised features, SGD {settings.epochs} epochs, "
        f"batch {settings.batch_size}, cosine, {len(settings.learning_rates)} learning rates; "
        f"learning rate and pooling chosen on {settings.validation_fraction:.0%} of the training set, "
        "heads trained on the rest"
    )


def fit_predict(
    train: Features,
    labels: Tensor,
    test: Features,
    *,
    classes: int,
    settings: Linear,
    generator: Generator,
) -> tuple[dict[str, Tensor], dict[str, float], dict[str, float]]:
    """Predict the test images by each pooling of the features.

    train, test: pooling -> (n, D); labels: (n,) of the training images
    returns:     pooling -> predicted (n,), pooling -> validation accuracy, what was chosen
    """
    order = torch.randperm(len(labels), generator=generator)
    held_out = max(1, round(settings.validation_fraction * len(labels)))
    validation, fitting = order[:held_out].to(labels.device), order[held_out:].to(labels.device)
    rates = torch.tensor(settings.learning_rates, device=labels.device)
    predictions, choice, told = {}, {}, {}
    for pooling, features in train.items():
        mean, std = features[fitting].mean(dim=0), features[fitting].std(dim=0).clamp(min=1e-6)
        standard = (features - mean) / std
        weights = train_heads(
            standard[fitting],
            labels[fitting],
            classes=classes,
            rates=rates,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            generator=generator,
        )
        hits = predict(standard[validation], weights) == labels[validation]  # (rates, n)
        accuracy = hits.float().mean(dim=1)
        best = int(accuracy.argmax())
        choice[pooling] = accuracy[best].item()
        told[f"learning_rate_{pooling}"] = settings.learning_rates[best]
        predictions[pooling] = predict((test[pooling] - mean) / std, weights[best : best + 1])[0]
    return predictions, choice, told


def train_heads(
    features: Tensor,
    labels: Tensor,
    *,
    classes: int,
    rates: Tensor,
    epochs: int,
    batch_size: int,
    generator: Generator,
) -> Tensor:
    """Train one linear classifier for each learning rate, by SGD with momentum 0.9 from zero.

    features: (n, D), labels: (n,), rates: (R,), of the loss averaged over a batch
    returns:  (R, D+1, C), the bias in the last row
    """
    inputs = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    weights = torch.zeros(len(rates), inputs.shape[1], classes, device=features.device)
    velocity = torch.zeros_like(weights)
    targets = F.one_hot(labels, classes).to(inputs.dtype)
    steps_per_epoch = math.ceil(len(inputs) / batch_size)
    total = epochs * steps_per_epoch
    for epoch in range(epochs):
        order = torch.randperm(len(inputs), generator=generator).to(features.device)
        for index, batch in enumerate(order.split(batch_size)):
            decay = (1 + math.cos(math.pi * (epoch * steps_per_epoch + index) / total)) / 2
            # The gradient of cross-entropy in closed form: no graph, all heads in one product.
            residual = (inputs[batch] @ weights).softmax(dim=-1) - targets[batch]  # (R, B, C)
            gradient = inputs[batch].T @ residual / len(batch)
            velocity.mul_(0.9).add_(gradient)
            weights.sub_(velocity * (decay * rates)[:, None, None])
    return weights


def predict(features: Tensor, weights: Tensor) -> Tensor:
    """The most likely class. features: (n, D), weights: (R, D+1, C), returns: (R, n)"""
    return (features @ weights[:, :-1] + weights[:, -1:]).argmax(dim=-1)
