"""Linear probe on cached frozen features, many learning rates trained at once.

Features are standardised without learned scale (as MAE's affine-free batch norm, He et al. 2022 App. A.1),
and each learning rate has a head of its own for each pooling; all heads see the same batches. Learning rate
and pooling are chosen on a split of the training set, never on the test set.
Source: Oquab et al. 2023 (DINOv2), App. B.3 for training the heads of a grid together.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from stages.probes.contract import Features, Outcome, Probe
from stages.probes.settings import Linear


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
) -> Outcome:
    """Predict the test images by each pooling of the features.

    train, test: pooling -> (n, D); labels: (n,) of the training images
    returns:     pooling -> predicted (n,), pooling -> validation accuracy, what was chosen
    """
    validation, fitting = held_out(len(labels), share=settings.validation_fraction, generator=generator)
    validation, fitting = validation.to(labels.device), fitting.to(labels.device)
    rates = torch.tensor(settings.learning_rates, device=labels.device)
    features = torch.stack(list(train.values()))  # (P, n, D)
    seen = features[:, fitting]
    mean, std = seen.mean(dim=1, keepdim=True), seen.std(dim=1, keepdim=True).clamp(min=1e-6)
    weights = train_heads(
        seen.sub_(mean).div_(std),
        labels[fitting],
        classes=classes,
        rates=rates,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        generator=generator,
    )  # (P, R, D+1, C)
    hits = predict((features[:, validation] - mean) / std, weights) == labels[validation]  # (P, R, n)
    accuracy, best = hits.float().mean(dim=2).max(dim=1)
    predictions, choice, told = {}, {}, {}
    for place, pooling in enumerate(train):
        head = weights[place, best[place], None]  # (1, D+1, C)
        predictions[pooling] = predict((test[pooling] - mean[place]) / std[place], head)[0]
        choice[pooling] = accuracy[place].item()
        told[f"learning_rate_{pooling}"] = settings.learning_rates[int(best[place])]
    return Outcome(predictions, choice, told)


def held_out(total: int, *, share: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Indices of the training images that choose, at least one, and of those that train, in random order."""
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
    """Train one linear classifier for each learning rate, by SGD with momentum 0.9 from zero.

    features: (n, D), or (P, n, D): P features of the same images, each with classifiers of its own
    labels:   (n,); rates: (R,), of the loss averaged over a batch
    returns:  (R, D+1, C) or (P, R, D+1, C), the bias in the last row
    """
    inputs = torch.cat([features, torch.ones_like(features[..., :1])], dim=-1)
    *several, images, width = inputs.shape
    # Images last and classes first, where softmax is three times faster than over a short last dimension.
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
            # The gradient of cross-entropy in closed form: no graph, all heads in one product.
            seen = inputs.index_select(-2, batch)  # (…, b, D+1)
            scores = (weights @ seen.mT).unflatten(-2, (classes, -1))  # (…, C, R, b)
            residual = scores.softmax(dim=-3).sub_(targets[:, None, batch]).flatten(-3, -2)
            velocity.mul_(0.9).add_(residual @ seen, alpha=1 / len(batch))
            weights.sub_(velocity * (decay * rate_of_row))
    return weights.unflatten(-2, (classes, -1)).movedim(-3, -1)


def predict(features: Tensor, weights: Tensor) -> Tensor:
    """The most likely class. features: (…, n, D), weights: (…, R, D+1, C), returns: (…, R, n)"""
    scores = torch.einsum("...nd,...rdc->...rnc", features, weights[..., :-1, :]) + weights[..., -1:, :]
    return scores.argmax(dim=-1)


class LinearHead:
    """Scores of the classes from standardised features. weights: (D+1, C), the bias in the last row"""

    def __init__(self, weights: Tensor, *, mean: Tensor, std: Tensor) -> None:
        self.weights, self.mean, self.std = weights, mean, std

    def __call__(self, features: Tensor) -> Tensor:
        """features: (…, D), returns: (…, C)"""
        return (features.float() - self.mean) / self.std @ self.weights[:-1] + self.weights[-1]

    def layer(self) -> nn.Linear:
        """Return the same as a layer to train on, of features that are not standardised."""
        layer = nn.Linear(*self.weights[:-1].shape)
        with torch.no_grad():
            layer.weight.copy_((self.weights[:-1] / self.std[:, None]).T)
            layer.bias.copy_(self.weights[-1] - (self.mean / self.std) @ self.weights[:-1])
        return layer


PROBE = Probe(reads="pooled", varies="pooling", protocol=protocol, fit_predict=fit_predict)
