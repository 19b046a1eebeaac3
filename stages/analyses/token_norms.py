"""Norms of patch tokens, and high-norm outliers among them ("artefacts").

Source: Darcet et al. 2024, "Vision Transformers Need Registers" (arXiv 2309.16588), §2.1. In large encoders,
about 2 % of the patch tokens of middle and late layers have ten times the norm of the others. These tokens
hold global instead of local information and spoil attention maps. The authors cut at a norm of 150, read from
the histogram of one encoder. Here the threshold is relative, so it applies to every width and block.
"""

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

TIMES = 3.0  # threshold in units of an image's median norm; artefacts lie near 10


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Yield the norms of the patch tokens of every image after every block, without the final norm.

    traces: image indices (B,) and traces
    yields: tables with the columns image, block (0 = after the embedding), norm (mean over patches), largest
            (largest norm / median norm), high (share of patches, 0 to 1, with a norm above TIMES the median)
    """
    for images, trace in traces:
        for block, tokens in enumerate(trace.tokens):
            norms = token_norms(tokens[:, trace.num_prefix_tokens :])
            columns = {"norm": norms.mean(dim=1), "largest": relative(norms).amax(dim=1)}
            columns |= {"high": high_norm_share(norms, TIMES)}
            place = {"image": images.numpy(), "block": block}
            yield pd.DataFrame(place | {name: value.cpu().numpy() for name, value in columns.items()})


def token_norms(tokens: Tensor) -> Tensor:
    """Return the Euclidean norm of each token. tokens: (B, N, D), returns: (B, N), float32 or wider"""
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32)).norm(dim=-1)


def relative(norms: Tensor) -> Tensor:
    """Divide norms by the median norm of their image.

    norms: (B, N), returns: (B, N); 0 where the median is 0. With an even number of patches, the lower of the
    two middle norms is the median.
    """
    median = norms.median(dim=1, keepdim=True).values
    return torch.where(median > 0, norms / median.clamp(min=torch.finfo(norms.dtype).tiny), 0.0)


def high_norm_share(norms: Tensor, times: float) -> Tensor:
    """Return the share of an image's patches whose norm exceeds a multiple of the median norm.

    norms: (B, N); times: the multiple, at least 1, so that the share is below one half
    returns: (B,)
    """
    return (relative(norms) > times).to(norms.dtype).mean(dim=1)


ANALYSIS = Analysis(measure)
