"""What the training loop trains."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Artifacts(NamedTuple):
    """What a training leaves besides its encoder and its history."""

    # Name of a file without .csv -> its rows, each column -> value; the stage writes them, the seed in front.
    tables: Mapping[str, Sequence[Mapping[str, float]]]
    # Name of files without suffix -> what writes them into the directory that it is given.
    files: Mapping[str, Callable[[Path], None]]


class Task(nn.Module):
    """An encoder and whatever its loss needs; forward(*views) gives {"loss": scalar, ...}."""

    encoder: VisionTransformer
    separable = True  # whether the loss of a batch is the mean of the losses of its parts
    micro_batch: int | None = None  # images whose activations fit in memory; None: the whole batch
    part: int | None = None  # images of a pass of the encoder that stay in the cache; None: as many as fit

    def before_step(self, progress: float) -> None:
        """Prepare for the next step; progress is the share of the training done, 0 to 1."""

    def after_epoch(self, epoch: int) -> None:
        """Look at what an epoch ends with; what is kept of it belongs into the task's extra state.

        epoch: from 1
        """

    def artifacts(self) -> Artifacts:
        """What the training leaves besides its encoder, for models/; asked once, after the last step."""
        return Artifacts(tables={}, files={})

    def gather(self, rows: Tensor) -> Tensor:
        """The rows (B, ...) of all processes, in the order of the batch; several of them replace it.

        A loss that compares the images of a batch gathers what it compares, and is then computed whole, and
        alike, by every process.
        """
        return rows

    def in_parts(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """function(rows), (B, ...), computed for a part of the rows at a time.

        Parts that stay in a processor's cache are faster than the whole. Parts of a micro_batch are computed
        again for their gradient, so the activations of one are all that is in memory, and a loss that needs
        the whole batch still sees it, with the same gradient.
        Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
        """
        if self.micro_batch is not None and len(rows) > self.micro_batch:
            parts = rows.split(self.micro_batch)
            return torch.cat([checkpoint(function, part, use_reentrant=False) for part in parts])
        if self.part is not None and len(rows) > self.part:
            # Chunks are of one size, where a split would leave a small rest.
            parts = rows.chunk(math.ceil(len(rows) / self.part))
            return torch.cat([function(part) for part in parts])
        return function(rows)
