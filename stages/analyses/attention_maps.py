"""Attention maps of single query patches, and the similarity of the maps of two queries."""

import base64
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stages.analyses.attention import patch_attention
from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace
from stages.study.errors import StudyError

CHANNELS = ("red", "green", "blue")


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Yield the attention of two query patches, mean over heads, and the cosine between their maps.

    traces: image indices (B,) and traces
    split:  its images are shown beside their maps
    yields: tables in long format, one value per row, with the columns
        measure  similarity (cosine between the maps of both queries; every image and block)
                 weight (attention to a key patch; shown images and blocks)
                 map (largest weight of a query's map; shown images, every block and query)
                 red, green, blue (of a pixel, 0..255; shown images)
        image    index of the image
        block    from 1; 0 for pixels
        query    centre or corner, see `query_patches`; "both" for similarity; "-" for pixels and whole maps
        row, column  of the key patch, pixel or, for whole maps, query; from 1; 0 for similarity
        value
        map      for whole maps: the weights of all keys, see `encode_map`; else empty
    The first `shown_images` images are shown, in the blocks at `depths` (0: first, 1: last). Their pixels are
    averaged over squares, so that no side exceeds `shown_pixels`.
    Raises StudyError if a setting is missing or out of range; ValueError if the patches form no square grid.
    Paper: Fig. 2, which shows two queries of one image.
    """
    to_show, pixels = (
        settings.whole_number(name, of="attention_maps") for name in ("shown_images", "shown_pixels")
    )
    depths = _shares(settings)
    for images, trace in traces:
        shown, to_show = images[:to_show], max(0, to_show - len(images))
        yield from (_pixels(split.images[image], image=image, wanted=pixels) for image in shown.tolist())
        drawn = {1 + int(share * (len(trace.attention) - 1)) for share in depths}
        for block, attention in enumerate(trace.attention, start=1):
            maps = query_maps(attention, trace.num_prefix_tokens)  # (B, 2, h, h)
            similarity = map_similarity(maps).cpu().numpy()
            yield _rows("similarity", similarity, image=images.numpy(), block=block, query="both")
            of_shown = patch_attention(attention[: len(shown)], trace.num_prefix_tokens).mean(dim=1)
            for image, whole in zip(shown.tolist(), of_shown, strict=True):
                yield _maps(whole.cpu().numpy(), image=image, block=block)
            if block in drawn:
                for image, pair in zip(shown.tolist(), maps, strict=False):
                    for query, weights in zip(("centre", "corner"), pair, strict=True):
                        yield _grid("weight", weights.cpu().numpy(), image=image, block=block, query=query)


def query_patches(grid: int) -> tuple[int, int]:
    """Return the indices of the two query patches in a grid × grid: the centre and the first corner.

    In an even grid, the centre is the patch below and right of the middle.
    """
    return (grid // 2) * grid + grid // 2, 0


def query_maps(attention: Tensor, num_prefix_tokens: int) -> Tensor:
    """Return the attention of the two query patches to all patches, mean over heads.

    attention: (B, H, prefix+N, prefix+N), rows sum to 1, N = h·h
    returns:   (B, 2, h, h), each map sums to 1; the centre comes first
    Raises ValueError if N is not a square number.
    Paper: Fig. 2; the authors' notebook shows one head.
    """
    patches = attention.shape[-1] - num_prefix_tokens
    grid = round(patches**0.5)
    if grid * grid != patches:
        raise ValueError(f"{patches} patches do not make a square grid")
    of_queries = patch_attention(attention, num_prefix_tokens)[:, :, list(query_patches(grid))]
    return of_queries.mean(dim=1).unflatten(-1, (grid, grid))


def map_similarity(maps: Tensor) -> Tensor:
    """Return the cosine between the maps of two queries.

    maps:    (B, 2, h, h), not negative
    returns: (B,), 1 if both maps are equal, 0 if the queries attend to different patches
    """
    first, second = maps.flatten(2).unbind(dim=1)
    return torch.nn.functional.cosine_similarity(first, second, dim=-1)


def encode_map(weights: np.ndarray) -> str:
    """Encode weights as base64 text with one byte each: 0 for 0, 255 for the largest weight.

    weights: any shape, not negative; read in row-major order
    """
    largest = weights.max()
    levels = np.rint(255 * weights / largest) if largest > 0 else np.zeros(weights.shape)
    return base64.b64encode(levels.astype(np.uint8).tobytes()).decode("ascii")


def _maps(attention: np.ndarray, *, image: int, block: int) -> pd.DataFrame:
    """Return the rows of every query's map. attention: (N, N), between patches"""
    grid = math.isqrt(len(attention))
    row, column = (1 + part.ravel() for part in np.indices((grid, grid)))
    rows = _rows("map", attention.max(axis=1), image=image, block=block, query="-", row=row, column=column)
    return rows.assign(map=[encode_map(weights) for weights in attention])


def _pixels(pixels: np.ndarray, *, image: int, wanted: int) -> pd.DataFrame:
    """Return the colours of an image (H, W, 3), 0..255, averaged over squares if a side exceeds `wanted`."""
    step = math.ceil(max(pixels.shape[:2]) / wanted)
    channels = torch.from_numpy(np.array(pixels)).permute(2, 0, 1).double()
    reduced = torch.nn.functional.avg_pool2d(channels, step, ceil_mode=True).round().numpy()
    parts = zip(CHANNELS, reduced, strict=True)
    return pd.concat([_grid(name, values, image=image) for name, values in parts], ignore_index=True)


def _shares(settings: AnalysisSettings) -> list[float]:
    value = (settings.model_extra or {}).get("depths")
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(share, int | float) and 0 <= share <= 1 for share in value)
    ):
        raise StudyError(
            f"params.yaml: analyses.attention_maps.depths is {value!r}: list numbers from 0 to 1"
        )
    return value


def _rows(
    name: str, value: np.ndarray, *, image: np.ndarray | int, block: int, query: str,
    row: np.ndarray | int = 0, column: np.ndarray | int = 0,
) -> pd.DataFrame:  # fmt: skip
    columns = {"image": image, "block": block, "query": query, "row": row, "column": column}
    return pd.DataFrame({"measure": name, **columns, "value": value, "map": ""})


def _grid(name: str, values: np.ndarray, *, image: int, block: int = 0, query: str = "-") -> pd.DataFrame:
    row, column = (1 + part.ravel() for part in np.indices(values.shape))
    return _rows(name, values.ravel(), image=image, block=block, query=query, row=row, column=column)


ANALYSIS = Analysis(measure, reads_attention=True)
