"""Take random views of whole photographs, in place of the stored squares.

The functions here are the implementations for photographs of functions of arrays.py and augment.py, which
choose by the type of their first argument. An objective therefore sees no difference, if it gives its images
only to these functions and reads their shape and device.

Threads only decode. The process that trains draws the crops, from the same generator as all other random
changes. So the number of threads, and how far they read ahead, changes nothing.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.data.arrays import batches, unit_range
from stages.data.augment import random_resized_crop_flip
from stages.data.photographs import Photographs
from stages.study.seeds import Draws

AHEAD = 1  # batches that are decoded while a batch is trained on


@dataclass(frozen=True)
class PhotographBatch:
    """Decoded photographs of different sizes; a crop of them is a tensor in [0, 1]."""

    photographs: list[Tensor]  # uint8 (3, H, W) each
    image_size: int  # px, side of a crop if no other size is asked for

    @property
    def shape(self) -> torch.Size:
        """Return the shape that the same images have as stored squares."""
        return torch.Size((len(self.photographs), 3, self.image_size, self.image_size))

    @property
    def device(self) -> torch.device:
        """Return the device of the photographs."""
        return self.photographs[0].device

    def to(self, device: torch.device | str, **_: Any) -> "PhotographBatch":
        """Return the batch on a device."""
        moved = [photograph.to(device, non_blocking=True) for photograph in self.photographs]
        return PhotographBatch(moved, self.image_size)


@batches.register  # type: ignore[arg-type]
def photograph_batches(  # type: ignore[misc]
    images: Photographs, order: Sequence[np.ndarray], *, workers: int = 0, pin_memory: bool = False
) -> Iterator[PhotographBatch]:
    """Yield batches of decoded photographs in the given order.

    order:   the indices of each batch
    workers: threads that decode ahead; 0: decode when a batch is needed
    """

    def read(row: int) -> Tensor:
        photograph = images.read(row)
        return photograph.pin_memory() if pin_memory else photograph

    if not workers:
        for indices in order:
            yield PhotographBatch([read(row) for row in indices.tolist()], images.image_size)
        return
    pool = ThreadPoolExecutor(workers)
    waiting: deque[list[Future[Tensor]]] = deque()
    try:
        for indices in order:
            waiting.append([pool.submit(read, row) for row in indices.tolist()])
            if len(waiting) > AHEAD:
                yield PhotographBatch([each.result() for each in waiting.popleft()], images.image_size)
        while waiting:
            yield PhotographBatch([each.result() for each in waiting.popleft()], images.image_size)
    finally:
        pool.shutdown(cancel_futures=True)


@unit_range.register  # type: ignore[arg-type]
def photographs_unit_range(images: PhotographBatch) -> PhotographBatch:  # type: ignore[misc]
    """Return the batch as it is: its crops are converted to [0, 1], which costs less."""
    return images


@random_resized_crop_flip.register
def photograph_crop_flip(  # type: ignore[misc]
    images: PhotographBatch,
    *,
    scale_min: float,
    scale_max: float = 1.0,
    size: int | None = None,
    draws: Draws,
) -> Tensor:
    """Crop each photograph at random, resize the crop, and mirror it with probability 0.5.

    scale_min, scale_max: range of the crop's share of the area of the whole photograph
    size:    side of the result in px; None: that of the batch
    returns: (B, 3, size, size) in [0, 1]
    """
    sizes = torch.tensor([photograph.shape[1:] for photograph in images.photographs])
    boxes = boxes_within(sizes, scale=(scale_min, scale_max), draws=draws)
    mirrored = (draws.uniform() < 0.5).tolist()
    side = size or images.image_size
    views = torch.empty(len(boxes), 3, side, side, device=images.device)
    for view, photograph, box, flip in zip(views, images.photographs, boxes.tolist(), mirrored, strict=True):
        window = crop(photograph, box, size=side)[0]
        torch.div(window.flip(2) if flip else window, 255, out=view)
    return views


def crop(photograph: Tensor, box: Sequence[int], *, size: int) -> Tensor:
    """Return the box of a photograph, resized bilinearly with antialiasing: (1, 3, size, size), 0 to 255.

    photograph: uint8 (3, H, W)
    box:        top, left, height, width in px
    """
    top, left, height, width = box
    window = photograph[None, :, top : top + height, left : left + width]
    # Only processors resize bytes, fastest if channels come last; they round to whole numbers.
    window = window.contiguous(memory_format=torch.channels_last) if window.is_cpu else window.float()
    return F.interpolate(window, size=(size, size), mode="bilinear", antialias=True)


def boxes_within(
    sizes: Tensor,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    draws: Draws,
) -> Tensor:
    """Draw a box within each photograph, as `crop_boxes` does within squares.

    sizes:   (B, 2) long, height and width in px, on the CPU
    scale:   range of the box's share of the area
    ratio:   range of width over height, log-uniform
    returns: (B, 4) long: top, left, height, width; if none of ten draws fits, the largest central box of an
             allowed ratio
    Source: Szegedy et al. 2015; torchvision RandomResizedCrop.
    """
    of_height, of_width = sizes[:, :1], sizes[:, 1:]  # (B, 1) each
    area, log_ratio, top, left = draws.uniform(4, 10).cpu().unbind(1)  # (B, 10) each
    area = of_height * of_width * (scale[0] + (scale[1] - scale[0]) * area)
    shape = (math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * log_ratio).exp()
    width, height = (area * shape).sqrt().round().long(), (area / shape).sqrt().round().long()
    fits = (width > 0) & (width <= of_width) & (height > 0) & (height <= of_height)
    first = fits.long().argmax(dim=1, keepdim=True)  # 0 if none fits
    valid = fits.any(dim=1, keepdim=True)
    widest, highest = (of_height * ratio[1]).round().long(), (of_width / ratio[0]).round().long()
    height = torch.where(valid, height.gather(1, first), torch.minimum(of_height, highest))
    width = torch.where(valid, width.gather(1, first), torch.minimum(of_width, widest))
    down, across = of_height - height, of_width - width  # free px
    top = torch.where(valid, (top.gather(1, first) * (down + 1)).long(), down // 2)
    left = torch.where(valid, (left.gather(1, first) * (across + 1)).long(), across // 2)
    return torch.cat([top, left, height, width], dim=1)
