"""Measure the agreement between the gradients of two losses on shared weights."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Vectors = Sequence[Tensor]  # one gradient (weights,) per group of weights
SCALE = (
    4096.0  # of a loss during its backward pass: float16 has no number above 0 below 6e-8; exact elsewhere
)


class Agreement(NamedTuple):
    """The agreement between the gradients of two losses, in one group of weights.

    Noise biases the cosine of two gradients towards 0. dot / sqrt(square_first * square_second) corrects this
    bias: it is the cosine divided by the geometric mean of the two split-half cosines. Sums of the three
    values over groups or epochs give the cosine of all of them together.
    """

    dot: float  # of the two mean gradients, from different batches and so without shared noise
    square_first: float  # squared norm of the first without noise: the dot product of its two halves
    square_second: float
    half_first: float  # split-half cosine: between the means of the two halves of the batches
    half_second: float


class GradientSums:
    """Sums the gradients of two losses over batches; each batch has one loss, and each loss two halves."""

    def __init__(self) -> None:
        self.batches = 0
        self.counts = {(loss, half): 0 for half in (0, 1) for loss in (0, 1)}
        self._sums: dict[tuple[int, int], list[Tensor]] = {}
        self._squares: tuple[list[list[float]], list[list[float]]] = ([], [])  # per batch and group

    @property
    def due(self) -> int:
        """Return the loss of the next batch, 0 or 1; the two losses alternate."""
        return self.batches % 2

    def add(self, gradients: Vectors) -> None:
        """Add the gradients of one batch, for the loss that is due."""
        cell = self.due, self.batches // 2 % 2
        self._squares[cell[0]].append([gradient.norm().item() ** 2 for gradient in gradients])
        if cell in self._sums:
            torch._foreach_add_(self._sums[cell], list(gradients))
        else:
            self._sums[cell] = [gradient.clone() for gradient in gradients]
        self.counts[cell] += 1
        self.batches += 1

    def norms(self) -> tuple[list[float], list[float]] | None:
        """Return the root mean square norms of single-batch gradients, by loss and group.

        Returns None until both losses have a batch.
        """
        first, second = (
            [math.sqrt(sum(values) / len(values)) for values in zip(*squares, strict=True)]
            for squares in self._squares
        )
        return (first, second) if self.batches > 1 else None

    def agreements(self) -> list[Agreement] | None:
        """Return the agreement of the losses in each group; None until every half has a batch."""
        if not all(self.counts.values()):
            return None
        means = {cell: [total / self.counts[cell] for total in totals] for cell, totals in self._sums.items()}
        return [
            agreement((means[0, 0][group], means[0, 1][group]), (means[1, 0][group], means[1, 1][group]))
            for group in range(len(means[0, 0]))
        ]


def gradients(loss: Tensor, groups: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Return the gradient of a loss for each group of weights, as one vector (weights of the group,).

    groups: weights; weights that the loss does not reach, or that are frozen, have a gradient of zero
    The .grad of the weights is not changed, and the graph of the loss is kept for a later backward pass.
    Raises RuntimeError if all weights are frozen.
    """
    learning = [weight for group in groups for weight in group if weight.requires_grad]
    parts = iter(
        torch.autograd.grad(
            SCALE * loss, learning, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    )
    return [
        torch.cat(
            [
                (next(parts) if weight.requires_grad else torch.zeros_like(weight)).flatten()
                for weight in group
            ]
        )
        / SCALE
        for group in groups
    ]


def agreement(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Agreement:
    """Return the agreement of two losses' gradients for the same weights, computed in float64.

    first, second: for each loss, the mean gradients (weights,) of two halves of its batches; all four use
                   different batches
    Raises ValueError if shapes differ.
    Source: Spearman 1904 for the split-half correction; Jiang et al. 2023 ("Layer Grafted Pre-training") for
    the cosine between the two losses of a hybrid, by layer.
    """
    shapes = {tuple(half.shape) for half in (*first, *second)}
    if len(shapes) > 1:
        raise ValueError(f"gradients must have the same shape, but have {sorted(shapes)}")
    one, other = ([half.cpu().double() for half in halves] for halves in (first, second))
    dot = ((one[0] + one[1]) @ (other[0] + other[1])).item() / 4
    squares = [(halves[0] @ halves[1]).item() for halves in (one, other)]
    lengths = [(halves[0].norm() * halves[1].norm()).item() for halves in (one, other)]
    halves = [
        square / length if length else math.nan for square, length in zip(squares, lengths, strict=True)
    ]
    return Agreement(dot, *squares, *halves)


def balancing_weight(ratio: float, norms: tuple[Sequence[float], Sequence[float]]) -> float:
    """Return the λ in (1 - λ) second + λ first that gives the weighted gradients a ratio of norms.

    ratio: norm of the first weighted gradient over that of the second
    norms: gradient norms of each loss by group; only groups that both losses reach count
    returns: NaN, which makes the loss NaN, if a norm is not finite or no group is reached by both losses
    """
    reached = [(a**2, b**2) for a, b in zip(*norms, strict=True) if a > 0 and b > 0]
    if not reached or not all(math.isfinite(norm) for norm in (*norms[0], *norms[1])):
        return math.nan
    first, second = (math.sqrt(sum(squares)) for squares in zip(*reached, strict=True))
    return ratio * second / (first + ratio * second)
