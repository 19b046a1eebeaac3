"""Movement of the tokens of an image through a self-attention."""

import torch
from torch import Tensor

from stages.analyses.spectra import ROUNDING


def unison(before: Tensor, after: Tensor) -> Tensor:
    """Return how uniformly the tokens of an image move: ‖mean displacement‖² / mean ‖displacement‖².

    before, after: (..., N, D) tokens
    returns: (...), 1 for equal moves (also if no token moves), 0 for moves that cancel; independent moves
             with mean 0 give 1/N on average
    Paper: Fig. 6, which gives no number; this measure is ours.
    """
    moves = wide(after) - wide(before)
    together = moves.mean(dim=-2).square().sum(dim=-1)
    each = moves.square().sum(dim=-1).mean(dim=-1)
    ratio = together / each.clamp(min=torch.finfo(moves.dtype).tiny)
    return torch.where(each > 0, ratio.clamp(max=1), 1.0)


def principal_coordinates(before: Tensor, after: Tensor, directions: int = 3) -> Tensor:
    """Return tokens before and after in their common top right-singular directions, centred together.

    before, after: (..., N, D) tokens
    returns: (..., 2, N, directions), float64, in units of the tokens; 0 in directions that do not exist
    The sign of a direction makes its largest component positive (the first one of equals), so the result is
    deterministic. If two singular values are equal, only their plane is determined.
    Paper: Fig. 6.
    """
    both = torch.cat([before, after], dim=-2).double()
    both = both - both.mean(dim=-2, keepdim=True)
    _, sigma, right = torch.linalg.svd(both, full_matrices=False)  # (..., K), (..., K, D)
    right, sigma = right[..., :directions, :], sigma[..., :directions]
    size = right.abs()
    largest = (size >= (1 - 1e-6) * size.amax(dim=-1, keepdim=True)).int().argmax(dim=-1, keepdim=True)
    coordinates = both @ (right * right.gather(-1, largest).sign()).mT
    exists = (sigma > ROUNDING * sigma[..., :1]).unsqueeze(-2)
    coordinates = torch.where(exists, coordinates, 0.0)
    coordinates = torch.nn.functional.pad(coordinates, (0, directions - coordinates.shape[-1]))
    return coordinates.unflatten(-2, (2, before.shape[-2]))


def wide(tokens: Tensor) -> Tensor:
    """Return tokens in float32 at least."""
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32))
