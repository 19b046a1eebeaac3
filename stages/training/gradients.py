"""Whether two losses ask the same of the weights that they share."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Vectors = Sequence[Tensor]  # one gradient (weights,) for every group of weights


class Agreement(NamedTuple):
    """How the gradients of two losses stand to each other, in one group of weights.

    The cosine of two noisy gradients is too near to 0. dot / sqrt(square_first * square_second) is not: it is
    that cosine divided by the geometric mean of the split-half cosines of each loss. Sums of these three over
    groups or over epochs give the cosine of all of them together.
    """

    dot: float  # of the two mean gradients, which are of different batches, so that no noise is in it
    square_first: float  # of the norm of the first without noise: the product of its two halves
    square_second: float
    half_first: float  # split-half cosine: of the means of the two halves of its batches
    half_second: float


class GradientSums:
    """Sums of the gradients of two losses over batches, each of one loss only, in two halves of each."""

    def __init__(self) -> None:
        self.batches = 0
        self.counts = {(loss, half): 0 for half in (0, 1) for loss in (0, 1)}
        self._sums: dict[tuple[int, int], list[Tensor]] = {}
        self._squares: tuple[list[list[float]], list[list[float]]] = ([], [])  # per batch and group

    @property
    def due(self) -> int:
        """The loss, 0 or 1, that the next batch is to be of; the two take turns."""
        return self.batches % 2

    def add(self, gradients: Vectors) -> None:
        """Add the gradients of the loss that is due, of one batch."""
        cell = self.due, self.batches // 2 % 2
        self._squares[cell[0]].append([gradient.norm().item() ** 2 for gradient in gradients])
        if cell in self._sums:
            torch._foreach_add_(self._sums[cell], list(gradients))
        else:
            self._sums[cell] = [gradient.clone() for gradient in gradients]
        self.counts[cell] += 1
        self.batches += 1

    def norms(self) -> tuple[list[float], list[float]] | None:
        """Root mean square norms of the gradients of single batches by group, of each loss.

        None before there is a batch of both.
        """
        first, second = (
            [math.sqrt(sum(values) / len(values)) for values in zip(*squares, strict=True)]
            for squares in self._squares
        )
        return (first, second) if self.batches > 1 else None

    def agreements(self) -> list[Agreement] | None:
        """How the losses agree in each group; None before there is a batch of every half."""
        if not all(self.counts.values()):
            return None
        means = {cell: [total / self.counts[cell] for total in totals] for cell, totals in self._sums.items()}
        return [
            agreement((means[0, 0][group], means[0, 1][group]), (means[1, 0][group], means[1, 1][group]))
            for group in range(len(means[0, 0]))
        ]


def gradients(loss: Tensor, groups: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The gradient of a loss with regard to each group of weights, as one vector (weights of the group,).

    groups: weights; those that the loss does not reach, or that do not learn, have a gradient of zero
    No weight's own .grad is touched, and the graph of the loss stays for its own backward pass.
    Raises RuntimeError if no weight of any group learns.
    """
    learning = [weight for group in groups for weight in group if weight.requires_grad]
    parts = iter(
        torch.autograd.grad(loss, learning, retain_graph=True, allow_unused=True, materialize_grads=True)
    )
    return [
        torch.cat(
            [
                (next(parts) if weight.requires_grad else torch.zeros_like(weight)).flatten()
                for weight in group
            ]
        )
        for group in groups
    ]


def agreement(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Agreement:
    """How two gradients of the same weights agree, in float64.

    first, second: of each loss the mean gradients (weights,) of two halves of its batches; no batch is in two
                   of the four
    Raises ValueError if they differ in shape.
    Source: Spearman 1904, for the correction by the split halves; Jiang et al. 2023 ("Layer Grafted
    Pre-training") ask for the cosine of the two losses of a hybrid, by layer.
    """
    shapes = {tuple(half.shape) for half in (*first, *second)}
    if len(shapes) > 1:
        raise ValueError(f"gradients of other weights: {sorted(shapes)}")
    one, other = ([half.cpu().double() for half in halves] for halves in (first, second))
    dot = ((one[0] + one[1]) @ (other[0] + other[1])).item() / 4
    squares = [(halves[0] @ halves[1]).item() for halves in (one, other)]
    lengths = [(halves[0].norm() * halves[1].norm()).item() for halves in (one, other)]
    halves = [
        square / length if length else math.nan for square, length in zip(squares, lengths, strict=True)
    ]
    return Agreement(dot, *squares, *halves)


def balancing_weight(ratio: float, norms: tuple[Sequence[float], Sequence[float]]) -> float:
    """The λ of (1 - λ) second + λ first at which the first's weighted gradient is `ratio` times the second's.

    norms: of the gradients of each loss by group, of which those count that both losses reach
    """
    reached = [(a**2, b**2) for a, b in zip(*norms, strict=True) if a > 0 and b > 0]
    first, second = (math.sqrt(sum(squares)) for squares in zip(*reached, strict=True))
    return ratio * second / (first + ratio * second)
