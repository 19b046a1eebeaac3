"""Similarity of representations: heads of a block, blocks of an encoder, tokens of an image."""

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
Place = tuple[str, str, int, int, Tensor]  # measure, variant, block, other block, values per image


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Yield cosines between heads, blocks and positions of every image, and linear CKA between blocks.

    traces: image indices (B,) and traces. Only the mean token and the spread of each image and block stay in
            memory
    yields: tables with the columns image, measure, variant (raw, centred, or with prefix tokens: raw, prefix
            tokens count like patches), block (0 = after embedding), other_block (an earlier block for
            comparisons of two blocks, else the same) and value:

            heads      cosine between the outputs of two heads at the same patch; centred: minus each head's
                       mean over the patches of the image. No rows for a block with one head
            blocks     cosine between the tokens of two blocks at the same patch, every pair; centred: minus
                       each block's mean over the patches of the image
            positions  cosine between two patches of the image; centred: minus the mean over all patches of
                       all images, see `centred_position_cosine`. No rows if an image has one patch
            branches   cosine between the outputs of the self-attention of a block and of the preceding block
                       at the same patch, without the residual stream
            cka        `linear_cka` of the mean patch tokens of two blocks, every pair, centred over images;
                       a single value for all images, so the column image is empty
            cka_share  pseudo-value of each image for the cka of a block and the preceding one, see
                       `cka_shares`
    Paper: §2, Fig. 5, which does not say which tensors it compares.
    """
    indices: list[Tensor] = []
    means: list[Tensor] = []
    variances: list[Tensor] = []
    patches = 0
    for images, trace in traces:
        prefix = trace.num_prefix_tokens
        with_prefix = [_wide(block) for block in trace.tokens]
        tokens = [block[:, prefix:] for block in with_prefix]
        patches = tokens[0].shape[1]
        places: list[Place] = []
        for variant in ("raw", "centred", WITH_PREFIX) if prefix else ("raw", "centred"):
            first = 0 if variant == WITH_PREFIX else prefix
            for block, outputs in enumerate(trace.heads, start=1):
                if outputs.shape[2] > 1:
                    value = head_cosine(outputs[:, first:], centred=variant == "centred")
                    places.append(("heads", variant, block, block, value))
            compared = with_prefix if variant == WITH_PREFIX else tokens
            cosine = block_cosine(compared, centred=variant == "centred")
            for block, other in _pairs(len(compared)):
                places.append(("blocks", variant, block, other, cosine[:, block, other]))
            for block, vectors in enumerate(compared):
                if patches > 1 and variant != "centred":  # centring needs all images, see below
                    places.append(("positions", variant, block, block, mean_cosine(vectors)))
        yield _table(places, images)
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
    """Return the mean cosine over all pairs of different vectors of a set.

    vectors: (..., n, D), n > 1
    returns: (...), float32 or wider; a zero vector has cosine 0 with every other
    Raises ValueError for a single vector.
    Paper: Fig. 5.
    """
    count = vectors.shape[-2]
    if count < 2:
        raise ValueError(f"a mean cosine needs two vectors or more, got {count}")
    unit = F.normalize(_wide(vectors), dim=-1)
    # |Σu|² sums over all ordered pairs, including each vector with itself.
    pairs = unit.sum(dim=-2).square().sum(dim=-1) - unit.square().sum(dim=(-2, -1))
    return pairs / (count * (count - 1))


def head_cosine(outputs: Tensor, *, centred: bool = False) -> Tensor:
    """Return the mean cosine between two heads' outputs at the same patch, over patches and pairs of heads.

    outputs: (B, N, H, d) attention times values, before the projection that mixes the heads, H > 1
    centred: subtract each head's mean over the N patches first
    returns: (B,)
    Each head has its own basis, which the projection can rotate. So a high cosine shows redundant heads, but
    a low one does not exclude them. `attention.head_diversity` does not depend on the basis.
    Raises ValueError for a single head.
    Paper: Fig. 5 (heads).
    """
    outputs = _wide(outputs)
    if centred:
        outputs = outputs - outputs.mean(dim=1, keepdim=True)
    return mean_cosine(outputs).mean(dim=1)


def block_cosine(tokens: Sequence[Tensor], *, centred: bool = False) -> Tensor:
    """Return the mean cosine between the tokens of two blocks at the same patch, for every pair of blocks.

    tokens:  K tensors (B, N, D)
    centred: subtract each block's mean over the N patches first
    returns: (B, K, K), symmetric
    Residual connections alone make consecutive blocks similar.
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
    return unit @ unit.mT / patches  # sums over patches and channels in one product


def centred_position_cosine(mean: Tensor, variance: Tensor, patches: int) -> Tensor:
    """Return the similarity of the patches of an image, after subtracting the mean over all images.

    mean:     (n, D) mean patch token of each image
    variance: (n,) mean squared distance of an image's patches from their mean
    patches:  N > 1, patches per image
    returns:  (n,), float64: the mean of x_i · x_j over two patches of the image, divided by the mean of
              x_i · x_i, where x is a token minus the mean over all patches of all n images. This is a cosine
              with pairs weighted by length, so the means and variances of the images suffice. 1 if all
              patches of an image are equal; 0 if they are no more similar than patches of different images,
              or if all patches of all images are equal
    Subtracting the mean of the image itself leaves vectors that sum to 0. Their cosine is about -1 / (N - 1)
    for every encoder.
    Paper: Fig. 5 (spatial tokens); Fisher 1925 (intraclass correlation).
    """
    mean, variance = mean.double(), variance.double()
    between = (mean - mean.mean(dim=0)).square().sum(dim=1)  # squared length of the mean of the image
    total = between + variance
    pairs = patches * between - total
    return torch.where(total > 0, pairs / ((patches - 1) * total.clamp(min=1e-300)), 0.0)


def linear_cka(features: Tensor, others: Tensor) -> Tensor:
    """Return the linear centred kernel alignment ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), with Frobenius norms.

    features, others: (n, D) and (n, E), one vector for each of the same n images; centred here
    returns: (), float64, 0 to 1; 1 for features that differ by rotation, scale and shift; 0 if either is
             constant over images. With few images and many channels, the value is high by chance.
    Source: Kornblith et al. 2019, §3.
    """
    x, y = (part.double() - part.double().mean(dim=0) for part in (features, others))
    norms = torch.linalg.matrix_norm(x.T @ x) * torch.linalg.matrix_norm(y.T @ y)
    product = (y.T @ x).square().sum()
    return torch.where(norms > 0, product / norms.clamp(min=1e-300), 0.0)


def cka_shares(features: Tensor, others: Tensor) -> Tensor:
    """Return the pseudo-value of each image for `linear_cka`: the CKA plus the influence of the image on it.

    features, others: (n, D) and (n, E), one vector for each of the same n images
    returns: (n,), float64. The mean is the CKA and the standard deviation / √n its standard error. Pseudo-
             values make the CKAs of two encoders comparable image by image
    Source: Jaeckel 1972, the infinitesimal jackknife; Efron & Tibshirani 1993, §11 and §22.
    """
    x, y = (part.double() - part.double().mean(dim=0) for part in (features, others))
    cka = linear_cka(features, others)

    def share(first: Tensor, second: Tensor) -> Tensor:
        """Return half the derivative of log ‖firstᵀ second‖² with respect to the weight of each image."""
        product = first.T @ second
        each = len(first) * ((first @ product) * second).sum(dim=1)  # (n,), mean ‖firstᵀ second‖²
        return each / product.square().sum().clamp(min=1e-300) - 1

    influence = 2 * share(x, y) - share(x, x) - share(y, y)
    return cka + torch.where(cka > 0, cka * influence, 0.0)


def _branches(trace: DeepTrace) -> list[Place]:
    """Return the cosines between the self-attention outputs of neighbouring blocks, mean over patches."""
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
    """Return the mean squared distance (B,) of the tokens (B, N, D) of an image from their mean."""
    return (tokens - tokens.mean(dim=1, keepdim=True)).square().sum(dim=-1).mean(dim=1)


def _pairs(blocks: int) -> list[tuple[int, int]]:
    """Return every pair of a block and an earlier one."""
    return [(block, other) for block in range(blocks) for other in range(block)]


def _table(places: Sequence[Place], images: Tensor | None) -> pd.DataFrame:
    """Return a row for every place and image; without images, a row for every place."""
    rows = 1 if images is None else len(images)
    columns = [
        np.repeat(np.array(column), rows) for column in zip(*(place[:4] for place in places), strict=True)
    ]
    values = torch.cat([place[4].cpu().double() for place in places]).numpy()
    index = [None] * len(places) if images is None else np.tile(images.numpy(), len(places))
    names = ("measure", "variant", "block", "other_block")
    return pd.DataFrame({"image": index} | dict(zip(names, columns, strict=True)) | {"value": values})


ANALYSIS = Analysis(measure)
