"""How long patch tokens are, and whether a few of them are much longer than the rest: artefacts.

Source: Darcet et al. 2024, "Vision Transformers Need Registers" (arXiv 2309.16588), §2.1: some 2 % of the
patch tokens of large encoders, from the middle layers on, have about ten times the norm of the others, hold
global instead of local information and spoil maps of attention. They cut at a norm of 150, which the
histogram of one encoder shows; here the cut is relative, so that it means the same at every width and in
every block.
"""

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

TIMES = 3.0  # the median of an image: well above it, and well below artefacts that are ten times as long


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Norm of the patch tokens of every image after every block, without the final norm.

    traces: image indices (B,) and what passes through the encoder
    yields: tables with the columns image, block (0 = after the embedding), norm (the mean over patches),
            largest (the largest norm over the median norm), high (share of the patches, 0 to 1, whose norm
            is above TIMES the median)
    """
    for images, trace in traces:
        for block, tokens in enumerate(trace.tokens):
            norms = token_norms(tokens[:, trace.num_prefix_tokens :])
            columns = {"norm": norms.mean(dim=1), "largest": relative(norms).amax(dim=1)}
            columns |= {"high": high_norm_share(norms, TIMES)}
            place = {"image": images.numpy(), "block": block}
            yield pd.DataFrame(place | {name: value.cpu().numpy() for name, value in columns.items()})


def token_norms(tokens: Tensor) -> Tensor:
    """Euclidean norm of each token. tokens: (B, N, D), returns: (B, N), float32 or wider"""
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32)).norm(dim=-1)


def relative(norms: Tensor) -> Tensor:
    """Norms over the median norm of their image; for an even number of patches, of the two the lower.

    norms: (B, N), returns: (B, N); 0 where the median is 0
    """
    median = norms.median(dim=1, keepdim=True).values
    return torch.where(median > 0, norms / median.clamp(min=torch.finfo(norms.dtype).tiny), 0.0)


def high_norm_share(norms: Tensor, times: float) -> Tensor:
    """Share of the patches of an image that are longer than so many times its median patch.

    norms: (B, N); times: at least 1, so that the share is below a half
    returns: (B,)
    """
    return (relative(norms) > times).to(norms.dtype).mean(dim=1)


ANALYSIS = Analysis(measure)
