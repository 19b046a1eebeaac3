"""MIM as in MAE: a masked autoencoder, whose encoder sees only the visible patches.

Source: He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners", §3. Single patches are hidden at
random ("Masking"). The encoder sees only the visible patches ("MAE encoder"). A small decoder sees all
patches; a learned token with a position stands for each hidden one ("MAE decoder"). The loss is the mean
squared error on the hidden patches, with pixels normalised within each patch ("Reconstruction target"). Crops
have random sizes (Table 1e).
From the public configuration: flips, crops of at least a fifth of the area, a decoder that also sees the
class token, Xavier initialisation of its linear layers, a mask token with a standard deviation of 0.02.
Departures: a smaller decoder by default (params.yaml), and bilinear crops. The encoder's initialisation and
positions are those of all arms of the study (by default fixed sine-cosine, as in MAE).
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.data.augment import Normalize, weak_view
from stages.encoders.decoder import Decoder, save_decoder
from stages.encoders.vit import embed, encode_visible
from stages.objectives.contract import Objective
from stages.objectives.losses import masked_mse
from stages.objectives.masked import random_mask
from stages.objectives.settings import Autoencoder, Objectives
from stages.study.seeds import Draws
from stages.study.settings import Arm
from stages.training.task import Artifacts, Task


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int] = ()
) -> "MaskedAutoencoder":
    """Return the objective for an encoder; the seed initialises the decoder."""
    return MaskedAutoencoder(encoder, settings=settings.autoencoder, seed=seed)


class MaskedAutoencoder(Task):
    """An encoder of the visible patches of an image, with a decoder that predicts the hidden ones."""

    def __init__(self, encoder: VisionTransformer, *, settings: Autoencoder, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.grid = encoder.patch_embed.grid_size[0]
        self.visible = self.grid**2 - math.ceil(settings.mask_ratio * self.grid**2)  # patches per image
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.decoder = Decoder(
                grid=self.grid,
                patch_size=encoder.patch_embed.patch_size[0],
                encoder_width=encoder.embed_dim,
                width=settings.decoder_width,
                depth=settings.decoder_depth,
                heads=settings.decoder_heads,
            )

    def artifacts(self) -> Artifacts:
        """Return the decoder, which the Fourier analysis uses."""
        return Artifacts(tables={}, files={"decoder": partial(save_decoder, decoder=self.decoder)})

    def views(self, images: Tensor, *, normalize: Normalize, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return one normalised weak view of each image, and its mask. images: (B, 3, S, S) in [0, 1]"""
        settings = self.settings
        view = weak_view(images, settings=settings, draws=draws)
        mask = random_mask(grid=self.grid, unit=1, ratio=settings.mask_ratio, draws=draws)
        return normalize(view), mask

    def forward(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the loss. images: (B, 3, S, S), normalised; mask: (B, h, w), 1 = hidden"""
        visible = mask.flatten(1).argsort(dim=1, stable=True)[:, : self.visible]  # (B, n), in order
        encoded = encode_visible(self.encoder, embed(self.encoder, images), visible)
        pixels = self.decoder(encoded, visible)
        return {"loss": masked_mse(pixels, images, mask, normalize=self.settings.normalize_target)}


OBJECTIVE = Objective(build=build, settings=("autoencoder",), shows_parts=True)
