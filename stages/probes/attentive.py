"""Attentive probe on cached patch tokens: a classifier with learnt pooling.

Each head has one learnt query. Its attention over the frozen tokens pools that head's channels of a value
projection, and a linear classifier reads all heads. The keys are the tokens themselves, because a key
projection would merge with the query. Queries start at zero and values at the identity, so training starts
from mean pooling, the pooling of the linear probe. Any gain is due to better pooling.
Source: Psomas et al. 2025, "Attention, Please! Revisiting Attentive Probing". Przewięźlikowski et al. 2024,
"Beyond [cls]", ask whether pooling explains the weak linear probe of MIM.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from stages.probes.contract import Features, Outcome, Probe
from stages.probes.linear import held_out
from stages.probes.settings import Attentive
from stages.study.errors import StudyError


class Probes(NamedTuple):
    """R attentive probes, one for each learning rate, with H heads."""

    queries: Tensor  # (R, H, D)
    values: Tensor  # (R, H, D, D/H)
    classifier: Tensor  # (R, D, C)
    bias: Tensor  # (R, C)


class Scale(NamedTuple):
    """Mean and standard deviation that standardise tokens, per channel (D,)."""

    mean: Tensor
    std: Tensor


def protocol(settings: Attentive) -> str:
    """Return the protocol in words, as printed beside every number."""
    return (
        f"{settings.heads} learnt queries attend over the frozen patch tokens, followed by a linear head; "
        f"AdamW, {settings.epochs} epochs, batch {settings.batch_size}, weight decay "
        f"{settings.weight_decay:g}, cosine schedule; one of {len(settings.learning_rates)} learning rates, "
        f"chosen on {settings.validation_fraction:.0%} of the cached training images and trained on the rest"
    )


def fit_predict(
    train: Features,
    labels: Tensor,
    test: Features,
    *,
    classes: int,
    settings: Attentive,
    generator: Generator,
) -> Outcome:
    """Predict the test images by attention over their patch tokens.

    train, test: patches -> (n, N, D); labels: (n,) of the training images
    returns:     "attention" -> predicted (n,), "attention" -> validation accuracy, the chosen learning rate
    Raises StudyError if the width of the encoder is not a multiple of the number of heads.
    """
    tokens = train["patches"]
    if tokens.shape[2] % settings.heads:
        raise StudyError(
            f"params.yaml: probes.attentive.heads is {settings.heads}: it must divide {tokens.shape[2]}, "
            "the width of the encoder"
        )
    validation, fitting = held_out(len(labels), share=settings.validation_fraction, generator=generator)
    validation, fitting = validation.to(labels.device), fitting.to(labels.device)
    scale = scale_of(tokens[fitting], batch_size=settings.batch_size)
    probes = train_probes(
        tokens[fitting], labels[fitting], scale, classes=classes, settings=settings, generator=generator
    )
    predicted = predict(tokens[validation], probes, scale, batch_size=settings.batch_size)
    accuracy, best = (predicted == labels[validation]).float().mean(dim=1).max(dim=0)
    chosen = Probes(*(part[best, None] for part in probes))
    predictions = {"attention": predict(test["patches"], chosen, scale, batch_size=settings.batch_size)[0]}
    details = {"learning_rate": settings.learning_rates[int(best)]}
    return Outcome(predictions, {"attention": accuracy.item()}, details)


def scale_of(tokens: Tensor, *, batch_size: int) -> Scale:
    """Return the mean and standard deviation of the mean token over images, as in the linear probe.

    The deviation of a channel is at least that of a mean of independent tokens.
    tokens: (n, N, D)
    """
    parts = tokens.split(batch_size)
    means = torch.cat([part.float().mean(dim=1) for part in parts])
    within = torch.cat([part.float().var(dim=1, correction=0) for part in parts]).mean(dim=0)
    std = torch.maximum(means.std(dim=0), (within / tokens.shape[1]).sqrt())
    return Scale(means.mean(dim=0), std.clamp(min=1e-6))


def train_probes(
    tokens: Tensor,
    labels: Tensor,
    scale: Scale,
    *,
    classes: int,
    settings: Attentive,
    generator: Generator,
) -> Probes:
    """Train one probe for each learning rate with AdamW, all on the same batches.

    tokens: (n, N, D), labels: (n,)
    Source: Loshchilov & Hutter 2019 for AdamW, with β of 0.9 and 0.999.
    """
    rates = torch.tensor(settings.learning_rates, device=tokens.device)
    probes = start(len(rates), width=tokens.shape[2], heads=settings.heads, classes=classes)
    probes = Probes(*(part.to(tokens.device) for part in probes))
    moments = [(torch.zeros_like(part), torch.zeros_like(part)) for part in probes]
    total = settings.epochs * math.ceil(len(labels) / settings.batch_size)
    step = 0
    for _ in range(settings.epochs):
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        for batch in order.split(settings.batch_size):
            for part in probes:
                part.requires_grad_()
            scores = logits(tokens[batch].float(), probes, scale)  # (R, B, C)
            # The sum over probes gives each probe its own gradient.
            loss = F.cross_entropy(scores.flatten(0, 1), labels[batch].repeat(len(rates)), reduction="sum")
            gradients = torch.autograd.grad(loss / len(batch), probes)
            decay = (1 + math.cos(math.pi * step / total)) / 2
            step += 1
            for part, gradient, (mean, square) in zip(probes, gradients, moments, strict=True):
                part.requires_grad_(False)
                mean.lerp_(gradient, 0.1)
                square.lerp_(gradient.square(), 0.001)
                update = mean / (1 - 0.9**step) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
                rate = decay * rates.view(-1, *[1] * (part.ndim - 1))
                part.sub_(rate * (update + settings.weight_decay * part))
    return probes


def start(probes: int, *, width: int, heads: int, classes: int) -> Probes:
    """Return probes before training: uniform attention, identity values, equal scores for all classes."""
    values = torch.eye(width).unflatten(1, (heads, -1)).transpose(0, 1)  # (H, D, D/H)
    return Probes(
        queries=torch.zeros(probes, heads, width),
        values=values.repeat(probes, 1, 1, 1),
        classifier=torch.zeros(probes, width, classes),
        bias=torch.zeros(probes, classes),
    )


def logits(tokens: Tensor, probes: Probes, scale: Scale) -> Tensor:
    """Return the class scores of every probe.

    tokens:  (B, N, D)
    returns: (R, B, C)
    """
    # Attention sums to 1, so tokens can be standardised after pooling. In the attention scores, their mean
    # adds a constant per head, which softmax ignores.
    queries = probes.queries / scale.std / math.sqrt(tokens.shape[2])
    attention = torch.einsum("bnd,rhd->brhn", tokens, queries).softmax(dim=-1)
    pooled = (torch.einsum("brhn,bnd->brhd", attention, tokens) - scale.mean) / scale.std
    channels = torch.einsum("brhd,rhde->rbhe", pooled, probes.values).flatten(2)  # (R, B, D)
    return channels @ probes.classifier + probes.bias[:, None]


@torch.no_grad()
def predict(tokens: Tensor, probes: Probes, scale: Scale, *, batch_size: int) -> Tensor:
    """Return the most likely class. tokens: (n, N, D), returns: (R, n)"""
    parts = [logits(part.float(), probes, scale).argmax(dim=-1) for part in tokens.split(batch_size)]
    return torch.cat(parts, dim=1)


PROBE = Probe(reads="tokens", varies="pooling", protocol=protocol, fit_predict=fit_predict)
