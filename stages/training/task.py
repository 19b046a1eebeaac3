"""The interface between the training loop and its tasks."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Artifacts(NamedTuple):
    """The results of a training besides its encoder and its history."""

    # File name without .csv -> rows (column -> value); the stage writes them with the seed as first column.
    tables: Mapping[str, Sequence[Mapping[str, float]]]
    # File name without suffix -> function that writes the file into a given directory.
    files: Mapping[str, Callable[[Path], None]]


class Task(nn.Module):
    """An encoder with everything that its loss needs; forward(*views) returns {"loss": scalar, ...}."""

    encoder: VisionTransformer
    separable = True  # the loss of a batch is the mean of the losses of its parts
    micro_batch: int | None = None  # number of images whose activations fit into memory; None: a whole batch
    part: int | None = None  # number of images per pass of the encoder that fit into the cache; None: any

    def before_step(self, progress: float) -> None:
        """Prepare for the next step; progress is the share of the training done, 0 to 1."""

    def after_epoch(self, epoch: int) -> None:
        """Inspect the state after an epoch; values to keep belong into the task's extra state.

        epoch: from 1
        """

    def artifacts(self) -> Artifacts:
        """Return further results of the training, for models/; called once, after the last step."""
        return Artifacts(tables={}, files={})

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows (B, ...) of all processes, in the order of the batch.

        With several processes, `fit_to_device` replaces this method. A loss that compares the images of a
        batch gathers its inputs; every process then computes the same, complete loss.
        """
        return rows

    def in_parts(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """Return function(rows), (B, ...), computed for a part of the rows at a time.

        Parts that fit into a processor's cache are faster than the whole batch. Parts of a micro_batch are
        recomputed in the backward pass, so that memory holds the activations of only one part. The loss still
        sees the whole batch and has the same gradient.
        Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
        """
        if self.micro_batch is not None and len(rows) > self.micro_batch:
            parts = rows.split(self.micro_batch)
            return torch.cat([checkpoint(function, part, use_reentrant=False) for part in parts])
        if self.part is not None and len(rows) > self.part:
            # Chunks have nearly equal sizes, while a split would leave a small rest.
            parts = rows.chunk(math.ceil(len(rows) / self.part))
            return torch.cat([function(part) for part in parts])
        return function(rows)
