"""Whether two losses ask the same of the weights that they share."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Agreement(NamedTuple):
    """How two gradients of the same weights stand to each other."""

    cosine: float  # 1: the same direction, 0: independent, -1: opposite; nan if one of them is zero
    first: float  # norm of the first
    second: float  # norm of the second


def gradients(loss: Tensor, groups: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The gradient of a loss with regard to each group of weights, as one vector (weights of the group,).

    groups: weights; those that the loss does not reach, or that do not learn, have a gradient of zero
    No weight's own .grad is touched, and the graph of the loss is freed.
    Raises RuntimeError if no weight of any group learns.
    """
    learning = [weight for group in groups for weight in group if weight.requires_grad]
    found = iter(torch.autograd.grad(loss, learning, allow_unused=True, materialize_grads=True))
    return [
        torch.cat(
            [
                (next(found) if weight.requires_grad else torch.zeros_like(weight)).flatten()
                for weight in group
            ]
        )
        for group in groups
    ]


def agreement(first: Tensor, second: Tensor) -> Agreement:
    """The cosine between two gradients of the same weights, and the norm of each, in float64.

    first, second: (weights,)
    Raises ValueError if they differ in shape.
    Source: Jiang et al. 2023 ("Layer Grafted Pre-training") ask it of the two losses of a hybrid, by layer.
    """
    if first.shape != second.shape:
        raise ValueError(f"gradients of other weights: {tuple(first.shape)} and {tuple(second.shape)}")
    first, second = first.double(), second.double()
    norms = first.norm().item(), second.norm().item()
    cosine = (first @ second).item() / (norms[0] * norms[1]) if all(norms) else float("nan")
    return Agreement(cosine, *norms)
