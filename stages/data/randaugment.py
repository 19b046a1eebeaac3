"""Apply RandAugment image by image."""

import random
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torch import Tensor

from stages.data.arrays import Manifest
from stages.study.seeds import derive


def randaugmented(
    stream: Iterator[Tensor], *, order: list[np.ndarray], policy: str | None, manifest: Manifest, seed: int
) -> Iterator[Tensor]:
    """Apply timm's RandAugment to every image of a stream of uint8 batches (B, 3, S, S).

    order:  the indices (B,) of each batch
    policy: in timm's notation; None: the images stay as they are
    Source: Cubuk et al. 2020; timm's variant, as in the published recipes.
    """
    if policy is None:
        yield from stream
        return
    fill = tuple(round(255 * value) for value in manifest.mean)
    size = manifest.image_size
    transform = rand_augment_transform(policy, {"translate_const": int(0.45 * size), "img_mean": fill})
    for indices, batch in zip(order, stream, strict=True):
        pictures = []
        for index, image in zip(indices, batch.permute(0, 2, 3, 1).numpy(), strict=True):
            # timm draws from the global generators of Python and NumPy.
            random.seed(derive(seed, int(index)))
            np.random.seed(derive(seed, int(index)) % 2**32)
            pictures.append(transform(Image.fromarray(image)))
        yield torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
