"""Segment images with an encoder and one linear layer on its patch tokens, fine-tuned together."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.data.arrays import Manifest, Split, batches, in_order, normalize, unit_range
from stages.encoders.vit import embed, encode
from stages.probes.linear import LinearHead
from stages.probes.segmentation import IGNORED, upsampled
from stages.study.seeds import Draws
from stages.training.task import Task


class Segmenter(Task):
    """An encoder with one linear layer on every patch token; the loss is the cross-entropy per pixel.

    The loss is the mean over the scored pixels of each image, then over images; images without scored pixels
    count as 0. The loss of a batch is therefore the mean of the losses of its parts, whatever is ignored.
    The layer starts from the weights of the linear probe. From a random start, a short training would end
    below the probe.
    Source: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features" (LP-FT).
    """

    def __init__(self, encoder: VisionTransformer, head: LinearHead, *, manifest: Manifest) -> None:
        super().__init__()
        encoder.head = head.layer()  # of the encoder, whose parameters are those that layer decay trains
        self.encoder = encoder
        self.manifest = manifest

    def views(self, images: Tensor, targets: Tensor, *, draws: Draws) -> tuple[Tensor, Tensor]:
        """Flip half of the images with their targets, and normalise. images: (B, 3, S, S) uint8"""
        flip = (draws.uniform() < 0.5)[:, None, None]
        targets = targets.to(images.device)
        images = torch.where(flip[:, None], images.flip(-1), images)
        return (
            normalize(unit_range(images), mean=self.manifest.mean, std=self.manifest.std),
            torch.where(flip, targets.flip(-1), targets),
        )

    def forward(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the loss. images: (B, 3, S, S), normalised; targets: (B, S, S)"""
        scores = upsampled(self.scores(images).float(), size=targets.shape[-1])
        of_pixels = F.cross_entropy(scores, targets, ignore_index=IGNORED, reduction="none")
        counted = (targets != IGNORED).sum(dim=(1, 2)).clamp(min=1)
        return {"loss": (of_pixels.sum(dim=(1, 2)) / counted).mean()}

    def scores(self, images: Tensor) -> Tensor:
        """Return the class scores of every patch, (B, N, C)."""
        tokens = encode(self.encoder, embed(self.encoder, images))
        return self.encoder.head(tokens[:, self.encoder.num_prefix_tokens :])


def scores_to_pixels(scores: Tensor, truth: Tensor) -> Tensor:
    """Return the most likely class of every pixel: scores (n, N, C), truth (any, H, W) -> (n, H, W)."""
    return upsampled(scores, size=truth.shape[1]).argmax(dim=1)


@torch.no_grad()
def predict(
    task: Segmenter, split: Split, images: NDArray[np.int64], *, batch_size: int, like: Tensor
) -> Tensor:
    """Predict the class of every pixel of some images, (n, H, W).

    images: (n,) indices
    like:   (any, H, W), gives the size of the result
    """
    device = next(task.parameters()).device
    task.eval()
    order = [images[rows] for rows in in_order(np.arange(len(images)), batch_size=batch_size)]
    manifest = task.manifest
    pixels = [
        scores_to_pixels(
            task.scores(
                normalize(unit_range(batch.to(device)), mean=manifest.mean, std=manifest.std)
            ).float(),
            like,
        ).cpu()
        for batch in batches(split.images, order)
    ]
    return torch.cat(pixels)
