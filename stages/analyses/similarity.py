"""How alike representations are: the heads of a block, the blocks of an encoder, the tokens of an image."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

WITH_PREFIX = "with prefix tokens"
Place = tuple[str, str, int, int, Tensor]  # measure, variant, block, other block, value of each image


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Cosine between heads, blocks and positions of every image, and linear CKA between blocks.

    traces: image indices (B,) and what passes through the encoder; of an image only its mean token and the
            spread around it are kept for each block, so memory does not grow with images × tokens
    yields: tables with the columns image, measure, variant (raw, centred, or with prefix tokens: raw, they
            being compared like patches), block (0 = after embedding), other_block (an earlier block where two
            are compared, else the same), value:

            heads      of two heads' outputs at the same patch; centred: each head's mean over the patches of
                       the image is removed. No rows for a block with one head
            blocks     of two blocks' tokens at the same patch, every pair; centred: each block's mean over
                       the patches of the image is removed
            positions  of two patches of the image; centred: the mean over all patches of all images is
                       removed, see `centred_position_cosine`. No rows if an image has one patch
            branches   of what the self-attentions of a block and of the one before add, at the same patch:
                       without what the residual stream carries past both
            cka        `linear_cka` of two blocks' mean patch tokens, every pair, centred over images. It is
                       one number for all images together, so its image is empty
            cka_share  what each image makes of the cka of a block and the one before, see `cka_shares`
    Paper: §3, Fig. 5; which tensors it compares is not published.
    """
    indices: list[Tensor] = []
    means: list[Tensor] = []
    variances: list[Tensor] = []
    patches = 0
    for images, trace in traces:
        prefix = trace.num_prefix_tokens
        every = [_wide(block) for block in trace.tokens]
        tokens = [block[:, prefix:] for block in every]
        patches = tokens[0].shape[1]
        found: list[Place] = []
        for variant in ("raw", "centred", WITH_PREFIX) if prefix else ("raw", "centred"):
            first = 0 if variant == WITH_PREFIX else prefix
            for block, outputs in enumerate(trace.heads, start=1):
                if outputs.shape[2] > 1:
                    value = head_cosine(outputs[:, first:], centred=variant == "centred")
                    found.append(("heads", variant, block, block, value))
            compared = every if variant == WITH_PREFIX else tokens
            cosine = block_cosine(compared, centred=variant == "centred")
            for block, other in _pairs(len(compared)):
                found.append(("blocks", variant, block, other, cosine[:, block, other]))
            for block, vectors in enumerate(compared):
                if patches > 1 and variant != "centred":  # which needs all images, below
                    found.append(("positions", variant, block, block, mean_cosine(vectors)))
        yield _table(found, images)
        if branches := _branches(trace):
            yield _table(branches, images)
        indices.append(images)
        means.append(torch.stack([vectors.mean(dim=1).cpu() for vectors in tokens], dim=1).double())
        variances.append(torch.stack([_spread(vectors).cpu() for vectors in tokens], dim=1).double())
    if not indices:
        return
    images, mean, variance = torch.cat(indices), torch.cat(means), torch.cat(variances)  # mean (n, L+1, D)
    if patches > 1:
        yield _table(
            [
                (
                    "positions",
                    "centred",
                    block,
                    block,
                    centred_position_cosine(mean[:, block], of_block, patches),
                )
                for block, of_block in enumerate(variance.T)
            ],
            images,
        )
    aligned: list[Place] = [
        ("cka", "centred", block, other, linear_cka(mean[:, block], mean[:, other])[None])
        for block, other in _pairs(mean.shape[1])
    ]
    yield _table(aligned, None)
    yield _table(
        [
            ("cka_share", "centred", block, block - 1, cka_shares(mean[:, block], mean[:, block - 1]))
            for block in range(1, mean.shape[1])
        ],
        images,
    )


def mean_cosine(vectors: Tensor) -> Tensor:
    """Mean cosine between two different vectors of a set, over all pairs.

    vectors: (..., n, D), n > 1
    returns: (...), float32 or wider; a vector of zeros has cosine 0 with every other
    Raises ValueError if there is one vector only.
    Paper: Fig. 5.
    """
    count = vectors.shape[-2]
    if count < 2:
        raise ValueError(f"cosine among {count} vectors: there is no pair")
    unit = F.normalize(_wide(vectors), dim=-1)
    # |sum of u|² is the sum over all pairs and over each vector with itself.
    pairs = unit.sum(dim=-2).square().sum(dim=-1) - unit.square().sum(dim=(-2, -1))
    return pairs / (count * (count - 1))


def head_cosine(outputs: Tensor, *, centred: bool = False) -> Tensor:
    """Mean cosine between the outputs of two heads at the same patch, over patches and pairs of heads.

    outputs: (B, N, H, d) attention times values, before the projection that mixes the heads, H > 1
    centred: remove the mean over the N patches from each head first: what all patches are given alike
    returns: (B,)
    Every head has a basis of its own, which the projection can undo: a high cosine says that heads are
    redundant, a low one does not say that they are not. `attention.head_diversity` knows no basis.
    Raises ValueError if there is one head only.
    Paper: Fig. 5 (heads).
    """
    outputs = _wide(outputs)
    if centred:
        outputs = outputs - outputs.mean(dim=1, keepdim=True)
    return mean_cosine(outputs).mean(dim=1)


def block_cosine(tokens: Sequence[Tensor], *, centred: bool = False) -> Tensor:
    """Mean cosine between the tokens of two blocks at the same patch, for every pair of blocks.

    tokens:  K tensors (B, N, D)
    centred: remove the mean over the N patches from each block first
    returns: (B, K, K), symmetric
    Consecutive blocks are alike already because each adds to what it is given.
    Paper: Fig. 5 (depths).
    """
    batch, patches, width = tokens[0].shape
    wide = torch.promote_types(tokens[0].dtype, torch.float32)
    unit = torch.empty(batch, len(tokens), patches * width, dtype=wide, device=tokens[0].device)
    for block, vectors in enumerate(tokens):
        vectors = _wide(vectors)
        if centred:
            vectors = vectors - vectors.mean(dim=1, keepdim=True)
        unit[:, block] = F.normalize(vectors, dim=-1).flatten(1)
    return unit @ unit.mT / patches  # a sum over patches of products over channels, at once


def centred_position_cosine(mean: Tensor, variance: Tensor, patches: int) -> Tensor:
    """How alike the patches of an image are once what all images share is removed.

    mean:     (n, D) mean patch token of each image
    variance: (n,) mean squared distance of its patches from it
    patches:  N > 1, of an image
    returns:  (n,), float64: the mean of x_i · x_j over two patches of the image, divided by the mean of
              x_i · x_i, where x is a token less the mean over all patches of all n images. It is a cosine
              whose pairs weigh by their length, so that n means and variances tell it. 1 where an image is
              one vector, 0 where its patches are no more alike than those of different images; 0 too if
              all patches of all images are the same
    The mean of the image itself would leave vectors that sum to 0, whose cosine is about -1 / (N - 1)
    whatever the encoder does.
    Paper: Fig. 5 (spatial tokens); Fisher 1925 (intraclass correlation).
    """
    mean, variance = mean.double(), variance.double()
    between = (mean - mean.mean(dim=0)).square().sum(dim=1)  # squared length of the image's own mean
    total = between + variance
    pairs = patches * between - total
    return torch.where(total > 0, pairs / ((patches - 1) * total.clamp(min=1e-300)), 0.0)


def linear_cka(features: Tensor, others: Tensor) -> Tensor:
    """Linear centred kernel alignment: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), Frobenius norms of centred features.

    features, others: (n, D) and (n, E) of the same n images, one vector each
    returns: (), float64, 0 to 1; 1 for features that differ by rotation, scale and shift, 0 if either is
             the same for all images. With few images for many channels it is high by chance.
    Source: Kornblith et al. 2019, §3.
    """
    x, y = (part.double() - part.double().mean(dim=0) for part in (features, others))
    norms = torch.linalg.matrix_norm(x.T @ x) * torch.linalg.matrix_norm(y.T @ y)
    alike = (y.T @ x).square().sum()
    return torch.where(norms > 0, alike / norms.clamp(min=1e-300), 0.0)


def cka_shares(features: Tensor, others: Tensor) -> Tensor:
    """What each image makes of `linear_cka`: the value plus the image's influence on it.

    features, others: (n, D) and (n, E) of the same n images, one vector each
    returns: (n,), float64, whose mean is the CKA, and whose standard deviation / √n is its standard error; so
             a number of all images together can be compared image by image between two encoders
    Source: Jaeckel 1972, the infinitesimal jackknife; Efron & Tibshirani 1993, §11 and §22.
    """
    x, y = (part.double() - part.double().mean(dim=0) for part in (features, others))
    cka = linear_cka(features, others)

    def share(first: Tensor, second: Tensor) -> Tensor:
        """The derivative of log ‖firstᵀ second‖² along more weight for one image, divided by 2."""
        product = first.T @ second
        each = len(first) * ((first @ product) * second).sum(dim=1)  # (n,), of mean ‖firstᵀ second‖²
        return each / product.square().sum().clamp(min=1e-300) - 1

    influence = 2 * share(x, y) - share(x, x) - share(y, y)
    return cka + torch.where(cka > 0, cka * influence, 0.0)


def _branches(trace: DeepTrace) -> list[Place]:
    """Cosine between what the self-attentions of neighbouring blocks add, over the patches of an image."""
    prefix = trace.num_prefix_tokens
    added = [
        _wide(after[:, prefix:]) - _wide(before[:, prefix:])
        for before, after in zip(trace.tokens, trace.attended, strict=False)
    ]
    return [
        ("branches", "raw", block + 1, block, block_cosine(added[block - 1 : block + 1])[:, 0, 1])
        for block in range(1, len(added))
    ]


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _spread(tokens: Tensor) -> Tensor:
    """Mean squared distance (B,) of the tokens (B, N, D) of an image from their mean."""
    return (tokens - tokens.mean(dim=1, keepdim=True)).square().sum(dim=-1).mean(dim=1)


def _pairs(blocks: int) -> list[tuple[int, int]]:
    """Every block with every earlier one."""
    return [(block, other) for block in range(blocks) for other in range(block)]


def _table(found: Sequence[Place], images: Tensor | None) -> pd.DataFrame:
    """The values of some images at some places, one row each; without images one row per place."""
    rows = 1 if images is None else len(images)
    columns = [
        np.repeat(np.array(column), rows) for column in zip(*(place[:4] for place in found), strict=True)
    ]
    values = torch.cat([place[4].cpu().double() for place in found]).numpy()
    index = [None] * len(found) if images is None else np.tile(images.numpy(), len(found))
    names = ("measure", "variant", "block", "other_block")
    return pd.DataFrame({"image": index} | dict(zip(names, columns, strict=True)) | {"value": values})


ANALYSIS = Analysis(measure)
