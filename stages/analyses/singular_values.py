"""What self-attention does to the tokens: how they move, and in how many directions they spread."""

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
# What float32 tokens cannot tell from 0, as a share of the largest singular value.
ROUNDING = torch.finfo(torch.float32).eps
SURELY = 10  # times the rounding: a direction that the embedding surely has


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Movement and singular values of the patch tokens, before and after every self-attention.

    traces: image indices (B,) and what passes through the encoder
    yields: tables of one long layout, one value a row, with the columns
        measure  unison, rankme, participation_ratio, alpha, log_sigma (log σ_i − log σ_1), coordinate_1 to 3;
                 log_covariance (log of the singular values of the covariance), log_spread (their mean over
                 indices less that of the embedding, see `log_spread`)
        level    token (the patch tokens of one image) or image (their mean, one vector per image);
                 image_share: what each image makes of a rank at image level, see `pseudo_values`
        place    before or after the self-attention is added to its input; across: from one to the other
        block    from 1
        image    its index; -1 where the value is of all images
        index    from 1: i of log_sigma and log_covariance, the patch of coordinates; 0 elsewhere
        value
        error    standard error over images of what is of all images, else 0
    Of every image: unison. Of `spectrum_images`, evenly spread: the other measures at token level; of their
    spectra the mean is kept. Of `shown_images`: the coordinates in the first, middle and last block.
    Of all images together: the image level, its error by a jackknife, and its shares after the attention.
    Paper: Fig. 7 plots log_covariance at token and image level, as its authors say in issue 2 of their code.
    Raises StudyError if a setting is missing or no whole number from 1.
    Memory does not grow with the number of images but by one mean token per image, block and place.
    """
    wanted = {
        name: settings.whole_number(name, of="singular_values")
        for name in ("spectrum_images", "shown_images")
    }
    spectra: dict[tuple[int, str], _Mean] = defaultdict(_Mean)
    variances: dict[tuple[int, str], _Mean] = defaultdict(_Mean)
    pooled: dict[tuple[int, str], list[Tensor]] = defaultdict(list)
    indices: list[Tensor] = []
    seen = 0
    for images, trace in traces:
        indices.append(images)
        number = torch.arange(seen, seen + len(images))
        seen += len(images)
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
            every = torch.cat(indices)
            parts.append(_rows(name, share, level="image_share", place=place, block=block, image=every))
        variance = jackknife(torch.cat(vectors), _image_covariance)
        for name, spectrum in (
            ("log_sigma", (value[len(SCALARS) :], error[len(SCALARS) :])),
            ("log_covariance", variance),
        ):
            parts.append(_spectrum_rows(name, *spectrum, level="image", place=place, block=block))
    yield _table(parts)


def singular_values(vectors: Tensor) -> Tensor:
    """Singular values of a centred cloud of vectors, largest first.

    vectors: (..., N, D), of which the mean over N is taken away
    returns: (..., K), float64; K = min(N - 1, D), as centring takes one direction of N; at least one
    They are the roots of the eigenvalues of the smaller Gram matrix, which costs a fraction of an SVD; in
    float64 that loses what is below 1e-8 of the largest. A spread below 1e-13 of the vectors themselves,
    the rounding of the mean, is 0.
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
    """Natural logarithm of singular values relative to the largest, log σ_i − log σ_1.

    sigma:   (..., K), largest first
    returns: (..., K), from 0 down; nothing is below the logarithm of float32's rounding, −15.9, where also
             all but the first are if all σ are 0
    Paper: Fig. 7.
    """
    largest = sigma[..., :1].clamp(min=torch.finfo(sigma.dtype).tiny)
    relative = (sigma / largest).clamp(min=ROUNDING).log()
    return torch.cat([torch.zeros_like(relative[..., :1]), relative[..., 1:]], dim=-1)


def log_covariance(vectors: Tensor, *, sigma: Tensor) -> Tensor:
    """Natural logarithm of the singular values of the covariance of a cloud of vectors, largest first.

    vectors: (..., N, D); sigma: (..., K), their `singular_values`
    returns: (..., K), log(σ²/(N - 1)), nothing below what float32 cannot tell from 0 in the vectors
    Paper: Fig. 7, as its authors define it: issue 2 of their code.
    """
    return 2 * sigma.clamp(min=_rounding(vectors)).log() - math.log(max(1, vectors.shape[-2] - 1))


def log_spread(vectors: Tensor, embedded: Tensor, *, sigma: Tensor, reference: Tensor) -> Tensor:
    """How far a cloud spreads beyond its embedding: mean difference of `log_covariance` over the indices.

    vectors, embedded: (..., N, D) and (..., N, D'), the same tokens later and at first
    sigma, reference:  (..., K), the `singular_values` of each
    returns: (...), 0 where nothing changed, log of the factor by which the variances grow
    The indices are those in which the embedding spreads above rounding: what has no direction at first tells
    of rounding alone, and directions that a block loses count as lost.
    """
    there = _above_rounding(embedded, reference)
    grown = log_covariance(vectors, sigma=sigma) - log_covariance(embedded, sigma=reference)
    return torch.where(there, grown, 0.0).sum(dim=-1) / there.sum(dim=-1)


def spread_shares(vectors: Tensor, embedded: Tensor) -> Tensor:
    """What each vector makes of `log_spread` of all of them: `pseudo_values` later less those at first.

    vectors, embedded: (N, D)
    returns: (N,), float64, whose mean is the log spread
    """
    there = _above_rounding(embedded, singular_values(embedded))

    def mean_log(sigma: Tensor, *, least: Tensor) -> Tensor:
        return torch.where(there, 2 * sigma.clamp(min=least).log(), 0.0).sum() / there.sum()

    late, early = (
        pseudo_values(cloud, partial(mean_log, least=_rounding(cloud)[..., 0]))
        for cloud in (vectors, embedded)
    )
    return late - early


def _rounding(vectors: Tensor) -> Tensor:
    """The singular value (..., 1) that float32 cannot tell from 0 in vectors (..., N, D)."""
    size = vectors.double().square().sum(dim=(-2, -1)).sqrt().unsqueeze(-1)
    return (ROUNDING * size).clamp(min=torch.finfo(torch.float64).tiny)


def _above_rounding(vectors: Tensor, sigma: Tensor) -> Tensor:
    """Which singular values (..., K) of vectors tell more than rounding; the first always."""
    there = sigma > SURELY * _rounding(vectors)
    return torch.cat([torch.ones_like(there[..., :1]), there[..., 1:]], dim=-1)


def rankme(sigma: Tensor, eps: float = 1e-7) -> Tensor:
    """Effective rank: the exponential of the entropy of the singular values as shares of their sum.

    sigma:   (..., K); here of centred vectors, there as they are
    eps:     added to every share
    returns: (...), from 1 (one direction, or none) to K (all alike)
    Source: Garrido et al. 2023 (RankMe), Eq. 1, with its eps; Roy & Vetterli 2007.
    """
    shares = sigma / sigma.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(sigma.dtype).tiny) + eps
    return torch.exp(-(shares * shares.log()).sum(dim=-1))


def participation_ratio(sigma: Tensor) -> Tensor:
    """Number of directions that share the variance, (Σλ)² / Σλ² with λ = σ².

    sigma:   (..., K)
    returns: (...), from 1 (one direction) to K (all alike); 0 if there is no variance
    Source: Gao et al. 2017, A theory of multineuronal dimensionality.
    """
    # Relative to the largest, so that no fourth power overflows or vanishes.
    largest = sigma.amax(dim=-1, keepdim=True)
    variance = (sigma / largest.clamp(min=torch.finfo(sigma.dtype).tiny)).square()
    ratio = variance.sum(dim=-1).square() / variance.square().sum(dim=-1).clamp(min=1.0)
    return torch.where(largest[..., 0] > 0, ratio, 0.0)


def alpha_req(sigma: Tensor, first: int = 4, last: int = 50) -> Tensor:
    """Decay α of the eigenvalues λ_i ∝ i^−α: minus the slope of log λ_i against log i.

    sigma:   (..., K), largest first, λ = σ²
    first, last: ranks i that are fitted, from 1, cut to the K there are
    returns: (...), 0 where all are alike; the larger, the fewer directions carry the variance
    The line is fitted by least squares with weights 1/i, so that every stretch of log i counts alike, to
    the eigenvalues above rounding. Where fewer than two of them are, all ranks are fitted with what is
    below rounding set to it: large but finite; 0 if K is 1.
    Source: Agrawal et al. 2022 (α-ReQ); the weights are those of Stringer et al. 2019, whose fit they use.
    The range of ranks differs between their experiments; 4 to 50 lies within most.
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
    """The three measures of how many directions a cloud spreads in, by their names in SCALARS.

    sigma:   (..., K), largest first
    returns: (...) each
    """
    values = (rankme(sigma), participation_ratio(sigma), alpha_req(sigma))
    return dict(zip(SCALARS, values, strict=True))


RANKS = {"rankme": rankme, "participation_ratio": participation_ratio}


def unison(before: Tensor, after: Tensor) -> Tensor:
    """How much the tokens of an image move in unison: ‖mean displacement‖² / mean ‖displacement‖².

    before, after: (..., N, D) tokens
    returns: (...), 1 where all move the same way (also where none moves), 0 where the moves cancel; 1/N is
             expected of moves that are independent of each other, with mean 0
    Paper: Fig. 6, which has no number; this one is ours.
    """
    moves = _wide(after) - _wide(before)
    together = moves.mean(dim=-2).square().sum(dim=-1)
    each = moves.square().sum(dim=-1).mean(dim=-1)
    ratio = together / each.clamp(min=torch.finfo(moves.dtype).tiny)
    return torch.where(each > 0, ratio.clamp(max=1), 1.0)


def principal_coordinates(before: Tensor, after: Tensor, directions: int = 3) -> Tensor:
    """Tokens before and after in the top right-singular directions of both together, centred together.

    before, after: (..., N, D) tokens
    returns: (..., 2, N, directions), float64, in units of the tokens; 0 in directions that do not exist
    Each direction points to where its largest component is positive, the first of equal ones, which makes it
    deterministic; where two singular values are equal their plane is, but not the directions in it.
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
    """A statistic of all vectors, and its standard error by leaving out one group of vectors at a time.

    vectors:   (N, D); the n-th is in group n mod groups
    statistic: (n, D) -> (K,); those that only more vectors have are left off at the end
    returns:   (K,) and (K,); the error is 0 where there are fewer than two vectors
    With ten groups an interval of 95 % is ± 2.26 errors, Student's t of 9 degrees of freedom. Near a maximum
    of the statistic, as a rank has where all directions are alike, the error is a third too wide.
    Source: Efron & Tibshirani 1993, §11; a bootstrap would draw images twice, which lowers the rank.
    """
    groups = min(groups, len(vectors))
    estimate = statistic(vectors)
    if groups < 2:
        return estimate, torch.zeros_like(estimate)
    of = torch.arange(len(vectors)) % groups
    parts = [statistic(vectors[of != group]) for group in range(groups)]
    known = min(len(part) for part in (estimate, *parts))
    values = torch.stack([part[:known] for part in parts])
    error = ((groups - 1) * values.var(dim=0, correction=0)).sqrt()
    return estimate[:known], error


def pseudo_values(vectors: Tensor, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """What each vector makes of a statistic of the singular values of all: the value plus its influence.

    vectors:   (N, D); statistic: singular values (K,), largest first, -> ()
    returns:   (N,), float64, whose mean is the statistic; their standard deviation / √N is its error. So
               a number of all images together can be compared image by image between two encoders
    The influence is the derivative along more weight for one vector: with λ = σ² of the direction v,
    dλ/dw = N (v · x)² − λ, x centred, since the mean stays where it is to first order.
    Source: Jaeckel 1972, the infinitesimal jackknife; Efron & Tibshirani 1993, §11 and §22.
    """
    vectors = vectors.double()
    centred = vectors - vectors.mean(dim=0)
    count = max(1, min(len(vectors) - 1, vectors.shape[1]))
    _, sigma, right = torch.linalg.svd(centred, full_matrices=False)
    sigma, right = sigma[:count], right[:count]
    there = sigma > ROUNDING * sigma[:1]
    slope = torch.func.grad(statistic)(sigma) / (2 * torch.where(there, sigma, 1.0))
    moved = len(vectors) * (centred @ right.mT).square() - sigma.square()  # (N, K)
    return statistic(sigma) + torch.where(there, slope * moved, 0.0).sum(dim=-1)


def evenly(numbers: Tensor, *, total: int, wanted: int) -> Tensor:
    """Which of `total` images are among the `wanted` that are spread evenly over them; the first always is.

    numbers: (B,) of the images, from 0
    returns: (B,) bool
    """
    return numbers * wanted % total < wanted


class _Mean:
    """Mean and standard error of rows that come in parts."""

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
    """All image-level numbers of (N, D) vectors as one row: the scalars, then the spectrum."""
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
    """The columns of the table for some values, each as long as they are."""
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
    """coordinates: (B, 2, N, directions) of `principal_coordinates`."""
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
