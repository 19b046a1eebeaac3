"""The spatial frequencies of tokens."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Yield the relative log amplitude of every image, block and frequency.

    traces: image indices (B,) and traces
    yields: tables with the columns image, part (encoder or decoder), block (0 = after its embedding),
            frequency (units of π), log_amplitude
    Paper: Fig. 8; Fig. 11 for the decoder of MAE.
    """
    for images, trace in traces:
        encoded = [("encoder", number, tokens) for number, tokens in enumerate(trace.tokens)]
        decoded = [("decoder", number, tokens) for number, tokens in enumerate(trace.decoded)]
        for part, block, tokens in encoded + decoded:
            prefix = trace.num_prefix_tokens if part == "encoder" else 1
            amplitude = relative_log_amplitude(tokens[:, prefix:])[:, 1:]  # frequency 0 is always 0
            batch, bins = amplitude.shape
            grid = round((tokens.shape[1] - prefix) ** 0.5)
            frequency = 2 * np.arange(1, bins + 1) / grid
            yield pd.DataFrame(
                {
                    "image": images.repeat_interleave(bins).numpy(),
                    "part": part,
                    "block": block,
                    "frequency": np.tile(frequency.round(6), batch),
                    "log_amplitude": amplitude.flatten().cpu().numpy(),
                }
            )


def relative_log_amplitude(tokens: Tensor) -> Tensor:
    """Return the log amplitude along the diagonal of the token map's spectrum, relative to frequency 0.

    tokens:  (B, N, D) patch tokens, N = h·h in row-major order
    returns: (B, h - h//2), mean over channels, in steps of 2π/h from frequency 0, where the value is 0. The
             published quantity is the last value, averaged over the batch
    Raises ValueError if N is not a square number.
    Paper: §3, Fig. 8. The constant and the diagonal follow the authors' notebook, which first shifts
           frequency 0 to the middle.
    """
    batch, patches, width = tokens.shape
    grid = round(patches**0.5)
    if grid * grid != patches:
        raise ValueError(f"{patches} patches do not make a square grid")
    maps = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
    maps = maps.transpose(1, 2).reshape(batch, width, grid, grid)
    spectrum = torch.fft.fft2(maps).diagonal(dim1=-2, dim2=-1)[..., : grid - grid // 2]
    amplitude = torch.log(spectrum.abs() + 1e-6).mean(dim=1)  # (B, bins)
    return amplitude - amplitude[:, :1]


ANALYSIS = Analysis(measure)
