"""Linear probe on cached frozen features, with many learning rates trained together.

Features are standardised without learnt scale, like the batch norm of MAE (He et al. 2022, App. A.1). Every
pair of a pooling and a learning rate has its own head; all heads see the same batches. A split of the
training set, never the test set, chooses learning rate and pooling.
Source: Oquab et al. 2023 (DINOv2), App. B.3, for training a grid of heads together.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from stages.probes.contract import Features, Outcome, Probe
from stages.probes.settings import Linear

MOST_SCORES = 2**28  # in memory at a time, 1 GB


def protocol(settings: Linear) -> str:
    """Return the protocol in words, as printed beside every number."""
    return (
        f"linear head on cached standardised features, SGD, {settings.epochs} epochs, "
        f"batch {settings.batch_size}, cosine schedule, {len(settings.learning_rates)} learning rates; "
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
) -> Outcome:
    """Predict the test images by each pooling of the features.

    train, test: pooling -> (n, D); labels: (n,) of the training images
    returns:     pooling -> predicted (n,), pooling -> validation accuracy, the chosen learning rates
    """
    validation, fitting = held_out(len(labels), share=settings.validation_fraction, generator=generator)
    validation, fitting = validation.to(labels.device), fitting.to(labels.device)
    rates = torch.tensor(settings.learning_rates, device=labels.device)
    features = torch.stack(list(train.values()))  # (P, n, D)
    fitted = features[:, fitting]
    mean, std = fitted.mean(dim=1, keepdim=True), fitted.std(dim=1, keepdim=True).clamp(min=1e-6)
    weights = train_heads(
        fitted.sub_(mean).div_(std),
        labels[fitting],
        classes=classes,
        rates=rates,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        generator=generator,
    )  # (P, R, D+1, C)
    held = (features[:, validation] - mean) / std
    accuracy, best = hits(held, labels[validation], weights).float().mean(dim=2).max(dim=1)
    predictions, choice, details = {}, {}, {}
    for place, pooling in enumerate(train):
        head = weights[place, best[place], None]  # (1, D+1, C)
        predictions[pooling] = predict((test[pooling] - mean[place]) / std[place], head)[0]
        choice[pooling] = accuracy[place].item()
        details[f"learning_rate_{pooling}"] = settings.learning_rates[int(best[place])]
    return Outcome(predictions, choice, details)


def hits(features: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return whether each head predicts each image correctly, with the scores of few images in memory.

    features: (P, n, D), labels: (n,), weights: (P, R, D+1, C)
    returns:  (P, R, n)
    """
    images = max(1, MOST_SCORES // (weights.numel() // weights.shape[-2]))
    parts = zip(features.split(images, dim=1), labels.split(images), strict=True)
    return torch.cat([predict(part, weights) == names for part, names in parts], dim=2)


def held_out(total: int, *, share: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return random, disjoint indices of the training images: for validation (at least one) and fitting."""
    order = torch.randperm(total, generator=generator)
    count = max(1, round(share * total))
    return order[:count], order[count:]


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
    """Train one linear classifier for each learning rate by SGD with momentum 0.9, starting at zero.

    features: (n, D), or (P, n, D): P kinds of features of the same images, with separate classifiers
    labels:   (n,)
    rates:    (R,), for the loss averaged over a batch
    returns:  (R, D+1, C) or (P, R, D+1, C), the bias in the last row
    """
    inputs = torch.cat([features, torch.ones_like(features[..., :1])], dim=-1)
    *several, images, width = inputs.shape
    # Classes first and images last: softmax over a short last dimension takes three times as long.
    weights = inputs.new_zeros(*several, classes * len(rates), width)
    velocity = torch.zeros_like(weights)
    rate_of_row = rates.repeat(classes)[:, None]
    targets = F.one_hot(labels, classes).to(inputs.dtype).T
    steps_per_epoch = math.ceil(images / batch_size)
    total = epochs * steps_per_epoch
    for epoch in range(epochs):
        order = torch.randperm(images, generator=generator).to(features.device)
        for index, batch in enumerate(order.split(batch_size)):
            decay = (1 + math.cos(math.pi * (epoch * steps_per_epoch + index) / total)) / 2
            # The closed-form gradient of cross-entropy needs no graph and one product for all heads.
            rows = inputs.index_select(-2, batch)  # (…, b, D+1)
            scores = (weights @ rows.mT).unflatten(-2, (classes, -1))  # (…, C, R, b)
            residual = scores.softmax(dim=-3).sub_(targets[:, None, batch]).flatten(-3, -2)
            velocity.mul_(0.9).add_(residual @ rows, alpha=1 / len(batch))
            weights.sub_(velocity * (decay * rate_of_row))
    return weights.unflatten(-2, (classes, -1)).movedim(-3, -1)


def predict(features: Tensor, weights: Tensor) -> Tensor:
    """Return the most likely class. features: (…, n, D), weights: (…, R, D+1, C), returns: (…, R, n)"""
    scores = torch.einsum("...nd,...rdc->...rnc", features, weights[..., :-1, :]) + weights[..., -1:, :]
    return scores.argmax(dim=-1)


class LinearHead:
    """A linear classifier of standardised features. weights: (D+1, C), with the bias in the last row"""

    def __init__(self, weights: Tensor, *, mean: Tensor, std: Tensor) -> None:
        self.weights, self.mean, self.std = weights, mean, std

    def __call__(self, features: Tensor) -> Tensor:
        """Return class scores. features: (…, D), returns: (…, C)"""
        return (features.float() - self.mean) / self.std @ self.weights[:-1] + self.weights[-1]

    def layer(self) -> nn.Linear:
        """Return an equivalent trainable layer on raw features."""
        layer = nn.Linear(*self.weights[:-1].shape)
        with torch.no_grad():
            layer.weight.copy_((self.weights[:-1] / self.std[:, None]).T)
            layer.bias.copy_(self.weights[-1] - (self.mean / self.std) @ self.weights[:-1])
        return layer


PROBE = Probe(reads="pooled", varies="pooling", protocol=protocol, fit_predict=fit_predict)
