"""Singular values of a cloud of vectors, measures of its dimensionality, and their standard errors."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

SCALARS = ("rankme", "participation_ratio", "alpha")
# Relative to the largest singular value, float32 tokens cannot distinguish smaller ones from 0.
ROUNDING = torch.finfo(torch.float32).eps
SURELY = 10  # times the rounding error: above it, a direction of the embedding is real


def singular_values(vectors: Tensor) -> Tensor:
    """Return the singular values of a centred cloud of vectors, largest first.

    vectors: (..., N, D); their mean over N is subtracted first
    returns: (..., K), float64; K = min(N - 1, D), because centring removes one dimension; at least one
    The values are roots of the eigenvalues of the smaller Gram matrix, which costs a fraction of an SVD. In
    float64, values below 1e-8 of the largest are lost. A spread below 1e-13 of the length of the vectors is
    the rounding error of the mean and becomes 0.
    Paper: Fig. 7.
    """
    vectors = vectors.double()
    centred = vectors - vectors.mean(dim=-2, keepdim=True)
    count, width = centred.shape[-2:]
    gram = centred @ centred.mT if count <= width else centred.mT @ centred
    sigma = torch.linalg.eigvalsh(gram).flip(-1)[..., : max(1, min(count - 1, width))].clamp(min=0).sqrt()
    size = vectors.square().sum(dim=(-2, -1)).sqrt().unsqueeze(-1)
    return torch.where(sigma > 1e-13 * size, sigma, 0.0)


def relative_log(sigma: Tensor) -> Tensor:
    """Return the natural logarithm of singular values relative to the largest, log σ_i − log σ_1.

    sigma:   (..., K), largest first
    returns: (..., K), from 0 down to −15.9, the logarithm of the rounding error of float32. If all σ are 0,
             all values but the first are −15.9
    Paper: Fig. 7.
    """
    largest = sigma[..., :1].clamp(min=torch.finfo(sigma.dtype).tiny)
    relative = (sigma / largest).clamp(min=ROUNDING).log()
    return torch.cat([torch.zeros_like(relative[..., :1]), relative[..., 1:]], dim=-1)


def log_covariance(vectors: Tensor, *, sigma: Tensor) -> Tensor:
    """Return the natural logarithm of the singular values of a cloud's covariance, largest first.

    vectors: (..., N, D); sigma: (..., K), their `singular_values`
    returns: (..., K), log(σ²/(N - 1)), with σ at least the rounding error of float32
    Paper: Fig. 7, as the authors define it in issue 2 of their code.
    """
    return 2 * sigma.clamp(min=_rounding(vectors)).log() - math.log(max(1, vectors.shape[-2] - 1))


def log_spread(vectors: Tensor, embedded: Tensor, *, sigma: Tensor, reference: Tensor) -> Tensor:
    """Return the growth of a cloud relative to its embedding: mean difference of `log_covariance`.

    vectors, embedded: (..., N, D) and (..., N, D'), the same tokens in a block and in the embedding
    sigma, reference:  (..., K), the `singular_values` of each
    returns: (...), mean log growth factor of the variances; 0 if nothing changes
    The mean covers the indices whose singular values in the embedding exceed rounding. The others carry
    rounding errors only. Directions that a block loses count as lost.
    """
    real = _above_rounding(embedded, reference)
    growth = log_covariance(vectors, sigma=sigma) - log_covariance(embedded, sigma=reference)
    return torch.where(real, growth, 0.0).sum(dim=-1) / real.sum(dim=-1)


def spread_shares(vectors: Tensor, embedded: Tensor) -> Tensor:
    """Return the pseudo-value of each vector for `log_spread`: `pseudo_values` minus those of the embedding.

    vectors, embedded: (N, D)
    returns: (N,), float64; the mean is the log spread
    """
    real = _above_rounding(embedded, singular_values(embedded))

    def mean_log(sigma: Tensor, *, least: Tensor) -> Tensor:
        return torch.where(real, 2 * sigma.clamp(min=least).log(), 0.0).sum() / real.sum()

    late, early = (
        pseudo_values(cloud, partial(mean_log, least=_rounding(cloud)[..., 0]))
        for cloud in (vectors, embedded)
    )
    return late - early


def _rounding(vectors: Tensor) -> Tensor:
    """Return the rounding error (..., 1) of the singular values of float32 vectors (..., N, D)."""
    size = vectors.double().square().sum(dim=(-2, -1)).sqrt().unsqueeze(-1)
    return (ROUNDING * size).clamp(min=torch.finfo(torch.float64).tiny)


def _above_rounding(vectors: Tensor, sigma: Tensor) -> Tensor:
    """Return which singular values (..., K) of vectors clearly exceed rounding; the first one always does."""
    above = sigma > SURELY * _rounding(vectors)
    return torch.cat([torch.ones_like(above[..., :1]), above[..., 1:]], dim=-1)


def rankme(sigma: Tensor, eps: float = 1e-7) -> Tensor:
    """Return the effective rank: the exponential of the entropy of the normalised singular values.

    sigma:   (..., K); here of centred vectors, in the source of raw ones
    eps:     added to every normalised value
    returns: (...), from 1 (one direction, or none) to K (all equal)
    Source: Garrido et al. 2023 (RankMe), Eq. 1, with their eps; Roy & Vetterli 2007.
    """
    shares = sigma / sigma.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(sigma.dtype).tiny) + eps
    return torch.exp(-(shares * shares.log()).sum(dim=-1))


def participation_ratio(sigma: Tensor) -> Tensor:
    """Return the participation ratio (Σλ)² / Σλ² with λ = σ², the number of directions with variance.

    sigma:   (..., K)
    returns: (...), from 1 (one direction) to K (all equal); 0 without variance
    Source: Gao et al. 2017, A theory of multineuronal dimensionality.
    """
    # Divide by the largest value, so that no fourth power overflows or underflows.
    largest = sigma.amax(dim=-1, keepdim=True)
    variance = (sigma / largest.clamp(min=torch.finfo(sigma.dtype).tiny)).square()
    ratio = variance.sum(dim=-1).square() / variance.square().sum(dim=-1).clamp(min=1.0)
    return torch.where(largest[..., 0] > 0, ratio, 0.0)


def alpha_req(sigma: Tensor, first: int = 4, last: int = 50) -> Tensor:
    """Return the decay α of the eigenvalues λ_i ∝ i^−α: minus the slope of log λ_i against log i.

    sigma:   (..., K), largest first, λ = σ²
    first, last: range of the fitted ranks i, from 1, cut to K
    returns: (...), 0 if all are equal; a larger α means that fewer directions carry the variance
    Weighted least squares with weights 1/i give equal weight to every interval of log i. Only eigenvalues
    above rounding are fitted. If fewer than two are, all ranks are fitted with the rest set to the rounding
    error, so α is large but finite. If K is 1, α is 0.
    Source: Agrawal et al. 2022 (α-ReQ), who use the weights and the fit of Stringer et al. 2019. The range of
    ranks differs between their experiments; 4 to 50 lies within most.
    """
    log_variance = 2 * relative_log(sigma)  # (..., K)
    ranks = torch.arange(1, sigma.shape[-1] + 1, dtype=sigma.dtype, device=sigma.device)
    above = log_variance > 2 * math.log(2 * ROUNDING)
    fitted = above & (ranks >= first) & (ranks <= last)
    enough = fitted.sum(dim=-1, keepdim=True) >= 2
    weight = torch.where(enough, fitted, True) / ranks
    weight = weight / weight.sum(dim=-1, keepdim=True)
    x = ranks.log().expand_as(log_variance)
    x = x - (weight * x).sum(dim=-1, keepdim=True)
    spread = (weight * x.square()).sum(dim=-1)
    slope = (weight * x * log_variance).sum(dim=-1) / spread.clamp(min=torch.finfo(sigma.dtype).tiny)
    return -slope + 0.0  # no negative zero


def scalars(sigma: Tensor) -> dict[str, Tensor]:
    """Return the three measures of dimensionality, by their names in SCALARS.

    sigma:   (..., K), largest first
    returns: (...) each
    """
    values = (rankme(sigma), participation_ratio(sigma), alpha_req(sigma))
    return dict(zip(SCALARS, values, strict=True))


RANKS = {"rankme": rankme, "participation_ratio": participation_ratio}


def jackknife(
    vectors: Tensor, statistic: Callable[[Tensor], Tensor], groups: int = 10
) -> tuple[Tensor, Tensor]:
    """Return a statistic of all vectors and its standard error by the delete-a-group jackknife.

    vectors:   (N, D); vector n belongs to group n mod groups
    statistic: (n, D) -> (K,); K may grow with n, then the shortest result counts
    returns:   (K,) and (K,); the error is 0 for fewer than two vectors
    With ten groups, a 95 % interval is ± 2.26 errors (Student's t, 9 degrees of freedom). Near a maximum of
    the statistic, such as the rank of equal directions, the error is a third too large.
    Source: Efron & Tibshirani 1993, §11. A bootstrap would repeat images, which lowers the rank.
    """
    groups = min(groups, len(vectors))
    estimate = statistic(vectors)
    if groups < 2:
        return estimate, torch.zeros_like(estimate)
    of = torch.arange(len(vectors)) % groups
    parts = [statistic(vectors[of != group]) for group in range(groups)]
    length = min(len(part) for part in (estimate, *parts))
    values = torch.stack([part[:length] for part in parts])
    error = ((groups - 1) * values.var(dim=0, correction=0)).sqrt()
    return estimate[:length], error


def pseudo_values(vectors: Tensor, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the pseudo-value of each vector for a statistic of all singular values: value plus influence.

    vectors:   (N, D); statistic: singular values (K,), largest first, -> ()
    returns:   (N,), float64. The mean is the statistic, and the standard deviation / √N its standard error.
               Pseudo-values make a statistic of all images comparable image by image between encoders
    The influence is the derivative with respect to the weight of a vector: dλ/dw = N (v · x)² − λ, with
    λ = σ² of the direction v and x centred. To first order, the weight does not move the mean.
    Source: Jaeckel 1972, the infinitesimal jackknife; Efron & Tibshirani 1993, §11 and §22.
    """
    vectors = vectors.double()
    centred = vectors - vectors.mean(dim=0)
    count = max(1, min(len(vectors) - 1, vectors.shape[1]))
    _, sigma, right = torch.linalg.svd(centred, full_matrices=False)
    sigma, right = sigma[:count], right[:count]
    real = sigma > ROUNDING * sigma[:1]
    slope = torch.func.grad(statistic)(sigma) / (2 * torch.where(real, sigma, 1.0))
    change = len(vectors) * (centred @ right.mT).square() - sigma.square()  # (N, K)
    return statistic(sigma) + torch.where(real, slope * change, 0.0).sum(dim=-1)
