"""Shuffled tiles: local texture stays, global shape is lost.

Source: the patch shuffling of Naseer et al. 2021, "Intriguing Properties of Vision Transformers", §3.3.
"""

import torch
from torch import Tensor

from stages.corruptions.contract import Corruption
from stages.corruptions.settings import CorruptionSettings
from stages.study.seeds import Draws


def corrupt(
    images: Tensor, *, level: float, settings: CorruptionSettings, masks: Tensor | None, draws: Draws
) -> Tensor:
    """Shuffle the tiles of each image in its own random order.

    images: (B, 3, S, S); level: number of tiles per side
    Raises ValueError if the tiles do not divide the image.
    """
    batch, channels, size, _ = images.shape
    tiles = int(level)
    tile = size // max(tiles, 1)
    if tiles != level or tile * tiles != size:
        raise ValueError(f"images of {size} px cannot be cut into {level:g} × {level:g} tiles")
    pieces = images.reshape(batch, channels, tiles, tile, tiles, tile).permute(0, 2, 4, 1, 3, 5)
    pieces = pieces.reshape(batch, tiles * tiles, channels, tile, tile)
    order = draws.uniform(tiles * tiles).argsort(dim=1).to(images.device)
    pieces = pieces[torch.arange(batch, device=images.device)[:, None], order]
    pieces = pieces.reshape(batch, tiles, tiles, channels, tile, tile).permute(0, 3, 1, 4, 2, 5)
    return pieces.reshape(images.shape)


CORRUPTION = Corruption(corrupt)
