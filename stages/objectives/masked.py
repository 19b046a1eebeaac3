"""MIM as in SimMIM: masked image modelling of raw pixels.

Source: Xie et al. 2022, "SimMIM: A Simple Framework for Masked Image Modeling". A learned token replaces the
hidden patches. Masks consist of random square units of several patches (§3.2). The decoder is one linear
layer (§3.3), and the loss is L1 on the hidden pixels of the normalised image (§3.4). Augmentation is weak
(crop and flip). As an option of the published code, each pixel is standardised in the window around it. The
encoder must then predict patterns; with plain pixels, a short training learns only the mean colour.
Departures: units are 2 patches wide at every resolution (32 px at patch 16). The initialisation is that of
all arms of the study, as are, by default, the positions and the lack of a layer scale (params.yaml; the
preset imagenet has the published ones).
"""

import math
from collections.abc import Sequence

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.data.augment import Normalize, weak_view
from stages.encoders.vit import embed, encode
from stages.objectives.contract import Objective
from stages.objectives.losses import masked_l1, mean_of_surroundings, normalized_in_windows
from stages.objectives.settings import Masked, Objectives
from stages.study.seeds import Draws
from stages.study.settings import Arm
from stages.training.task import Task


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int] = ()
) -> "MaskedImageModeling":
    """Return the objective for an encoder; the seed initialises the decoder."""
    return MaskedImageModeling(encoder, settings=settings.masked, seed=seed)


class MaskedImageModeling(Task):
    """An encoder that learns to predict the hidden patches of an image."""

    def __init__(self, encoder: VisionTransformer, *, settings: Masked, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.grid = encoder.patch_embed.grid_size[0]
        self.patch_size = encoder.patch_embed.patch_size[0]
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(encoder.embed_dim), std=0.02))
            self.decoder = nn.Linear(encoder.embed_dim, self.patch_size**2 * 3)

    def views(self, images: Tensor, *, normalize: Normalize, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return one normalised weak view of each image, and its mask. images: (B, 3, S, S) in [0, 1]"""
        settings = self.settings
        view = weak_view(images, settings=settings, draws=draws)
        mask = random_mask(grid=self.grid, unit=settings.mask_unit, ratio=settings.mask_ratio, draws=draws)
        return normalize(view), mask

    def forward(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the loss, and the loss of a baseline that predicts the mean of the visible surroundings.

        images: (B, 3, S, S), normalised
        mask:   (B, h, w), 1 = hidden
        An encoder that is no better than this baseline has learned nothing beyond local means.
        """
        patches = embed(self.encoder, images)
        hidden = mask.flatten(1)[:, :, None].bool()
        patches = torch.where(hidden, self.mask_token.to(patches.dtype), patches)
        tokens = self.in_parts(self.tokens, patches)
        pixels = self.decoder(tokens[:, self.encoder.num_prefix_tokens :])  # (B, N, p·p·3)
        window = self.settings.target_window
        target = images if window is None else normalized_in_windows(images, window)
        return {
            "loss": masked_l1(self.unpatchify(pixels), target, mask),
            "surroundings": masked_l1(mean_of_surroundings(target, mask), target, mask),
        }

    def tokens(self, patches: Tensor) -> Tensor:
        """Return the decoder's input (B, prefix+N, D), given embedded patches (B, N, D)."""
        return encode(self.encoder, patches)

    def unpatchify(self, pixels: Tensor) -> Tensor:
        """Arrange the values of patches (B, N, p·p·3) as images (B, 3, S, S)."""
        batch, grid, patch = len(pixels), self.grid, self.patch_size
        pixels = pixels.reshape(batch, grid, grid, patch, patch, 3).permute(0, 5, 1, 3, 2, 4)
        return pixels.reshape(batch, 3, grid * patch, grid * patch)


def random_mask(*, grid: int, unit: int, ratio: float, draws: Draws) -> Tensor:
    """Hide the same number of random square units in every image.

    grid, unit: sides of the image and of a unit, in patches
    ratio:      share of the units to hide; their number is rounded up
    returns:    (B, grid, grid), 1 = hidden
    Source: Xie et al. 2022, §3.2.
    """
    units = grid // unit
    hidden = math.ceil(ratio * units * units)
    order = draws.uniform(units * units)
    mask = torch.zeros_like(order).scatter_(1, order.argsort(dim=1)[:, :hidden], 1.0)
    mask = mask.reshape(-1, units, units)
    return mask.repeat_interleave(unit, dim=1).repeat_interleave(unit, dim=2)


OBJECTIVE = Objective(build=build, settings=("masked",))
