"""Latent prediction: from part of an image, predict a momentum encoder's representation of the rest.

Source: Assran et al. 2023, "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture" (I-JEPA, arXiv 2301.08243), §3. Several target blocks, which may overlap, are hidden from the
context ("Targets", "Context"). A narrow ViT predicts them from the context and from a learned token with
positions ("Prediction"). The target encoder sees the whole image; it is a moving average of the student, and
it is the encoder that is saved (App. A). From the public code: latents of the last block, normalised without
learned weights, and a smooth L1 loss. Baevski et al. 2022, data2vec (arXiv 2202.03555), §3.3 and §3.4, give
the reasons: normalisation prevents collapse, and smooth L1 limits the influence of single patches.
Departures: target blocks are square and of equal size. The context is a random set of visible patches, not a
block; it has as many patches as remain when no target blocks overlap. The predictor predicts all target
blocks in one pass. The context includes a class token, the momentum rises along a cosine, and crops are
mirrored.
By default, latents are normalised over the patches of an image, as data2vec does for speech. With I-JEPA's
normalisation of single tokens, a short training on the built-in images lowered the linear-probe accuracy on
shape.
"""

import copy
from collections.abc import Sequence

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.data.augment import Normalize, weak_view
from stages.encoders.architecture import without_drop_path
from stages.encoders.decoder import Decoder
from stages.encoders.vit import embed, encode, encode_visible
from stages.objectives.contract import Objective
from stages.objectives.losses import latent_smooth_l1, normalized_latents
from stages.objectives.settings import Latent, Objectives
from stages.study.seeds import Draws
from stages.study.settings import Arm
from stages.training.schedule import copy_momentum
from stages.training.task import Task


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int] = ()
) -> "LatentPrediction":
    """Return the objective for an encoder, which becomes the target's; the seed initialises the predictor."""
    return LatentPrediction(encoder, settings=settings.latent, seed=seed)


class LatentPrediction(Task):
    """A student that sees part of an image and predicts its momentum encoder's latents of the rest."""

    def __init__(self, encoder: VisionTransformer, *, settings: Latent, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.grid = encoder.patch_embed.grid_size[0]
        self.side = settings.target_side(self.grid)
        self.visible = self.grid**2 - settings.target_blocks * self.side**2  # patches of the context
        self.student_encoder = copy.deepcopy(encoder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.predictor = Predictor(grid=self.grid, encoder_width=encoder.embed_dim, settings=settings)
        self.encoder = without_drop_path(encoder).requires_grad_(False)

    @torch.no_grad()
    def before_step(self, progress: float) -> None:
        """Update the target encoder towards the student. progress: share of the training done, 0 to 1"""
        momentum = copy_momentum(progress, start=self.settings.momentum)
        target: list[Tensor] = [*self.encoder.parameters()]
        student: list[Tensor] = [*self.student_encoder.parameters()]
        torch._foreach_lerp_(target, student, 1 - momentum)

    def views(self, images: Tensor, *, normalize: Normalize, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Return one normalised weak view of each image, its target patches, and its context.

        images:  (B, 3, S, S) in [0, 1]
        returns: (B, 3, S, S); (B, h, w), 1 = target; (B, n) indices of the visible patches, in order
        """
        view = weak_view(images, settings=self.settings, draws=draws)
        mask = block_mask(grid=self.grid, side=self.side, blocks=self.settings.target_blocks, draws=draws)
        # Targets sort last, and the other patches are in random order.
        order = (draws.uniform(self.grid**2) + mask.flatten(1)).argsort(dim=1)
        return normalize(view), mask, order[:, : self.visible].sort(dim=1).values

    def forward(self, images: Tensor, mask: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Return the loss of the output of `views`, and the spread of latents over images (0: collapse)."""
        prefix = self.encoder.num_prefix_tokens
        with torch.no_grad():
            latents = self.in_parts(self.latents, images)[:, prefix:]
        context = encode_visible(self.student_encoder, embed(self.student_encoder, images), visible)
        target = normalized_latents(latents, self.settings.normalize)
        loss = latent_smooth_l1(self.predictor(context, visible), target, mask, beta=self.settings.beta)
        return {"loss": loss, "spread": latents.float().std(dim=0).mean()}

    def latents(self, images: Tensor) -> Tensor:
        """Return the target encoder's tokens of whole images, (B, prefix+N, D)."""
        return encode(self.encoder, embed(self.encoder, images))


class Predictor(Decoder):
    """A small ViT that predicts the latents (B, N, D) of all patches from the encoded visible patches."""

    def __init__(self, *, grid: int, encoder_width: int, settings: Latent) -> None:
        super().__init__(
            grid=grid,
            patch_size=1,
            encoder_width=encoder_width,
            width=settings.predictor_width,
            depth=settings.predictor_depth,
            heads=settings.predictor_heads,
        )
        self.pixels = nn.Linear(settings.predictor_width, encoder_width)  # predicts latents, not pixels
        nn.init.xavier_uniform_(self.pixels.weight)
        nn.init.zeros_(self.pixels.bias)


def block_mask(*, grid: int, side: int, blocks: int, draws: Draws) -> Tensor:
    """Choose random square blocks of patches in every image; blocks may overlap.

    grid, side: sides of the image and of a block, in patches
    blocks:     number of blocks per image
    returns:    (B, grid, grid), 1 = inside a block
    Source: Assran et al. 2023, §3 "Targets", here with a single size.
    """
    corner = (draws.uniform(blocks, 2) * (grid - side + 1)).floor()  # (B, blocks, row and column)
    steps = torch.arange(grid, device=corner.device)
    inside = (steps >= corner[..., None]) & (steps < corner[..., None] + side)  # (B, blocks, 2, grid)
    return (inside[:, :, 0, :, None] & inside[:, :, 1, None, :]).any(dim=1).float()


OBJECTIVE = Objective(build=build, settings=("latent",), shows_parts=True)
