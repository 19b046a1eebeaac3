"""Effects of self-attention on tokens: their shifts, and the number of directions in which they spread."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

Columns = dict[str, np.ndarray]

SCALARS = ("rankme", "participation_ratio", "alpha")
# Relative to the largest singular value, float32 tokens cannot distinguish smaller ones from 0.
ROUNDING = torch.finfo(torch.float32).eps
SURELY = 10  # times the rounding error: above it, a direction of the embedding is real


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Yield shifts and singular values of the patch tokens, before and after every self-attention.

    traces: image indices (B,) and traces
    yields: tables in long format, one value per row, with the columns
        measure  unison; rankme, participation_ratio, alpha; coordinate_1 to 3
                 log_sigma (log σ_i − log σ_1)
                 log_covariance (log of the singular values of the covariance)
                 log_spread (mean of log_covariance over i, minus that of the embedding, see `log_spread`)
        level    token: of the patch tokens of one image
                 image: of the mean tokens of all images
                 image_share: pseudo-value of each image for a measure at image level, see `pseudo_values`
        place    before or after the self-attention is added to its input; across: from before to after
        block    from 1
        image    index of the image; -1 for values of all images
        index    i of log_sigma and log_covariance, from 1; number of the patch of a coordinate; else 0
        value
        error    standard error over images for values of all images, else 0
    Every image has its unison. `spectrum_images`, evenly spread, have the other measures at token level;
    their spectra are averaged. `shown_images` have coordinates in the first, middle and last block. All
    images together have the image level, with jackknife errors, and the shares after the attention.
    Paper: Fig. 7 plots log_covariance at token and image level, as the authors say in issue 2 of their code.
    Raises StudyError if a setting is missing or no whole number of at least 1.
    Memory grows only by one mean token per image, block and place.
    """
    wanted = {
        name: settings.whole_number(name, of="singular_values")
        for name in ("spectrum_images", "shown_images")
    }
    spectra: dict[tuple[int, str], _Mean] = defaultdict(_Mean)
    variances: dict[tuple[int, str], _Mean] = defaultdict(_Mean)
    pooled: dict[tuple[int, str], list[Tensor]] = defaultdict(list)
    indices: list[Tensor] = []
    start = 0
    for images, trace in traces:
        indices.append(images)
        number = torch.arange(start, start + len(images))
        start += len(images)
        spectral, shown = (evenly(number, total=settings.images, wanted=count) for count in wanted.values())
        drawn = {1, (len(trace.attended) + 1) // 2, len(trace.attended)}
        parts = []
        for block, steps in enumerate(zip(trace.tokens, trace.attended, strict=False), start=1):
            before, after = (tokens[:, trace.num_prefix_tokens :] for tokens in steps)
            parts.append(_rows("unison", unison(before, after), place="across", block=block, image=images))
            for place, tokens in (("before", before), ("after", after)):
                pooled[block, place].append(_wide(tokens).mean(dim=1).cpu().double())
                if not spectral.any():
                    continue
                cloud = tokens.cpu()[spectral]
                sigma = singular_values(cloud)
                spectra[block, place].add(relative_log(sigma))
                variances[block, place].add(log_covariance(cloud, sigma=sigma))
                if (block, place) == (1, "before"):
                    embedded, embedding = cloud, sigma
                if place == "after":
                    spread = log_spread(cloud, embedded, sigma=sigma, reference=embedding)
                    parts.append(
                        _rows("log_spread", spread, place=place, block=block, image=images[spectral])
                    )
                for name, value in scalars(sigma).items():
                    parts.append(_rows(name, value, place=place, block=block, image=images[spectral]))
            if block in drawn and shown.any():
                coordinates = principal_coordinates(before.cpu()[shown], after.cpu()[shown])
                parts += _coordinate_rows(coordinates, images=images[shown], block=block)
        yield _table(parts)
    parts = []
    for name, means in (("log_sigma", spectra), ("log_covariance", variances)):
        for (block, place), mean in means.items():
            parts.append(_spectrum_rows(name, *mean.result(), level="token", place=place, block=block))
    for (block, place), vectors in pooled.items():
        value, error = jackknife(torch.cat(vectors), _image_level)
        for name, *one in zip(SCALARS, value.split(1), error.split(1), strict=False):
            parts.append(_rows(name, one[0], level="image", place=place, block=block, error=one[1]))
        shares = {name: pseudo_values(torch.cat(vectors), rank) for name, rank in RANKS.items()}
        shares["log_spread"] = spread_shares(torch.cat(vectors), torch.cat(pooled[1, "before"]))
        for name, share in shares.items() if place == "after" else ():
            image = torch.cat(indices)
            parts.append(_rows(name, share, level="image_share", place=place, block=block, image=image))
        variance = jackknife(torch.cat(vectors), _image_covariance)
        for name, spectrum in (
            ("log_sigma", (value[len(SCALARS) :], error[len(SCALARS) :])),
            ("log_covariance", variance),
        ):
            parts.append(_spectrum_rows(name, *spectrum, level="image", place=place, block=block))
    yield _table(parts)


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


def unison(before: Tensor, after: Tensor) -> Tensor:
    """Return how uniformly the tokens of an image move: ‖mean displacement‖² / mean ‖displacement‖².

    before, after: (..., N, D) tokens
    returns: (...), 1 for equal moves (also if no token moves), 0 for moves that cancel; independent moves
             with mean 0 give 1/N on average
    Paper: Fig. 6, which gives no number; this measure is ours.
    """
    moves = _wide(after) - _wide(before)
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


def evenly(numbers: Tensor, *, total: int, wanted: int) -> Tensor:
    """Return which images belong to a selection of `wanted` out of `total`, evenly spread from the first on.

    numbers: (B,) numbers of the images, from 0
    returns: (B,) bool
    """
    return numbers * wanted % total < wanted


class _Mean:
    """Accumulate the mean and the standard error of rows that arrive in parts."""

    def __init__(self) -> None:
        self.count = 0
        self.total = self.squares = torch.zeros(())

    def add(self, rows: Tensor) -> None:
        self.count += len(rows)
        self.total = self.total + rows.sum(dim=0)
        self.squares = self.squares + rows.square().sum(dim=0)

    def result(self) -> tuple[Tensor, Tensor]:
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0)
        return mean, (variance / max(self.count - 1, 1)).sqrt()


def _image_level(vectors: Tensor) -> Tensor:
    """Return all image-level values of vectors (N, D) as one row: the scalars, then the spectrum."""
    sigma = singular_values(vectors)
    return torch.cat([torch.stack(list(scalars(sigma).values())), relative_log(sigma)])


def _image_covariance(vectors: Tensor) -> Tensor:
    return log_covariance(vectors, sigma=singular_values(vectors))


def _wide(tokens: Tensor) -> Tensor:
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32))


def _rows(
    name: str,
    value: Tensor,
    *,
    level: str = "token",
    place: str,
    block: int,
    image: Tensor | int = -1,
    index: Tensor | int = 0,
    error: Tensor | float = 0.0,
) -> Columns:
    """Return the columns of the table for some values, broadcast to their number."""
    columns: dict[str, Any] = {"measure": name, "level": level, "place": place, "block": block}
    columns |= {"image": image, "index": index, "value": value, "error": error}
    arrays = (part.cpu().numpy() if isinstance(part, Tensor) else np.array(part) for part in columns.values())
    return {key: np.broadcast_to(part, len(value)) for key, part in zip(columns, arrays, strict=True)}


def _table(parts: list[Columns]) -> pd.DataFrame:
    return pd.DataFrame({key: np.concatenate([part[key] for part in parts]) for key in parts[0]})


def _spectrum_rows(name: str, mean: Tensor, error: Tensor, *, level: str, place: str, block: int) -> Columns:
    index = torch.arange(1, len(mean) + 1)
    return _rows(name, mean, level=level, place=place, block=block, index=index, error=error)


def _coordinate_rows(coordinates: Tensor, *, images: Tensor, block: int) -> list[Columns]:
    """Return the rows of `principal_coordinates`. coordinates: (B, 2, N, directions)"""
    batch, _, patches, directions = coordinates.shape
    return [
        _rows(
            f"coordinate_{direction + 1}",
            coordinates[:, number, :, direction].flatten(),
            place=place,
            block=block,
            image=images.repeat_interleave(patches),
            index=torch.arange(1, patches + 1).repeat(batch),
        )
        for direction in range(directions)
        for number, place in enumerate(("before", "after"))
    ]


ANALYSIS = Analysis(measure)
