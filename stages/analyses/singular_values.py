"""Effects of self-attention on tokens: their shifts, and the number of directions in which they spread."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.movement import principal_coordinates, unison, wide
from stages.analyses.settings import AnalysisSettings
from stages.analyses.spectra import (
    RANKS,
    SCALARS,
    jackknife,
    log_covariance,
    log_spread,
    pseudo_values,
    scalars,
    singular_values,
    spread_shares,
)
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

Columns = dict[str, np.ndarray]


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Yield shifts and singular values of the patch tokens, before and after every self-attention.

    traces: image indices (B,) and traces
    yields: tables in long format, one value per row, with the columns
        measure  unison; rankme, participation_ratio, alpha; coordinate_1 to 3
                 log_covariance (log of the singular values of the covariance)
                 log_spread (mean of log_covariance over i, minus that of the embedding, see `log_spread`)
        level    token: of the patch tokens of one image
                 image: of the mean tokens of all images
                 image_share: pseudo-value of each image for a measure at image level, see `pseudo_values`
        place    before or after the self-attention is added to its input; across: from before to after
        block    from 1
        image    index of the image; -1 for values of all images
        index    i of log_covariance, from 1; number of the patch of a coordinate; else 0
        value
        error    standard error over images for values of all images, else 0
    Every image has its unison. `spectrum_images`, evenly spread, have the other measures at token level;
    their spectra are averaged. `shown_images` have coordinates in the first, middle and last block. All
    images together have the image level, with jackknife errors, and the shares after the attention.
    Paper: Fig. 6 (movement); Fig. 7 (log_covariance at token and image level, defined in issue 2 of the
           authors' code).
    Raises StudyError if a setting is missing or is not a whole number of at least 1.
    Memory grows only by one mean token per image, block and place.
    """
    wanted = {
        name: settings.whole_number(name, of="singular_values")
        for name in ("spectrum_images", "shown_images")
    }
    spectra: dict[tuple[int, str], _Mean] = defaultdict(_Mean)
    pooled: dict[tuple[int, str], list[Tensor]] = defaultdict(list)
    indices: list[Tensor] = []
    start, total = 0, min(settings.images, len(split.images))
    for images, trace in traces:
        indices.append(images)
        number = torch.arange(start, start + len(images))
        start += len(images)
        spectral, shown = (evenly(number, total=total, wanted=count) for count in wanted.values())
        drawn = {1, (len(trace.attended) + 1) // 2, len(trace.attended)}
        parts = []
        for block, steps in enumerate(zip(trace.tokens, trace.attended, strict=False), start=1):
            before, after = (tokens[:, trace.num_prefix_tokens :] for tokens in steps)
            parts.append(_rows("unison", unison(before, after), place="across", block=block, image=images))
            for place, tokens in (("before", before), ("after", after)):
                pooled[block, place].append(wide(tokens).mean(dim=1).cpu().double())
                if not spectral.any():
                    continue
                cloud = tokens.cpu()[spectral]
                sigma = singular_values(cloud)
                spectra[block, place].add(log_covariance(cloud, sigma=sigma))
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
    for (block, place), mean in spectra.items():
        parts.append(_spectrum_rows(*mean.result(), level="token", place=place, block=block))
    for (block, place), vectors in pooled.items():
        value, error = jackknife(torch.cat(vectors), _image_level)
        for name, *one in zip(SCALARS, value.split(1), error.split(1), strict=False):
            parts.append(_rows(name, one[0], level="image", place=place, block=block, error=one[1]))
        shares = {name: pseudo_values(torch.cat(vectors), rank) for name, rank in RANKS.items()}
        shares["log_spread"] = spread_shares(torch.cat(vectors), torch.cat(pooled[1, "before"]))
        for name, share in shares.items() if place == "after" else ():
            image = torch.cat(indices)
            parts.append(_rows(name, share, level="image_share", place=place, block=block, image=image))
        spectrum = (value[len(SCALARS) :], error[len(SCALARS) :])
        parts.append(_spectrum_rows(*spectrum, level="image", place=place, block=block))
    yield _table(parts)


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
    return torch.cat([torch.stack(list(scalars(sigma).values())), log_covariance(vectors, sigma=sigma)])


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


def _spectrum_rows(mean: Tensor, error: Tensor, *, level: str, place: str, block: int) -> Columns:
    index = torch.arange(1, len(mean) + 1)
    return _rows("log_covariance", mean, level=level, place=place, block=block, index=index, error=error)


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
