"""Latent prediction: from a part of an image, predict what a slow copy of the encoder makes of the rest.

Source: Assran et al. 2023, "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture" (I-JEPA, arXiv 2301.08243), §3: several target blocks, which may overlap, hidden from the
context ("Targets", "Context"); a narrow ViT predicts them from the context and a learned token with positions
("Prediction"); the target encoder sees the whole image and follows along an average over time; it is the one
that is kept (App. A). From the public code: latents of the last block, normalised without weights, a smooth
L1. Baevski et al. 2022, data2vec (arXiv 2202.03555), §3.3 and §3.4, for what both are good for: no collapse,
and no patch that outweighs the others.
Departures: target blocks are square and of one size; the context is as many patches as are left where no
blocks overlap, at random, and no block of its own; one pass of the predictor for all target blocks; a class
token in the context; the momentum rises along a cosine; crops are mirrored. By default latents are normalised
over the patches of an image, as data2vec does for speech: with I-JEPA's normalisation, token by token, one
short training on the built-in images ended with a worse linear probe of shape than it began with.
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
    """The objective around an encoder, which becomes the target's; the predictor starts from the seed."""
    return LatentPrediction(encoder, settings=settings.latent, seed=seed)


class LatentPrediction(Task):
    """A student that sees a part of an image, and predicts what its slow copy sees in the rest."""

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
        """Move the target encoder towards the student. progress: share of the training done, 0 to 1"""
        momentum = copy_momentum(progress, start=self.settings.momentum)
        target: list[Tensor] = [*self.encoder.parameters()]
        student: list[Tensor] = [*self.student_encoder.parameters()]
        torch._foreach_lerp_(target, student, 1 - momentum)

    def views(self, images: Tensor, *, normalize: Normalize, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """One weak augmentation of each image, normalised, its target patches, and its context.

        images:  (B, 3, S, S) in [0, 1]
        returns: (B, 3, S, S); (B, h, w), 1 = target; (B, n) indices of the visible patches, in order
        """
        view = weak_view(images, settings=self.settings, draws=draws)
        mask = block_mask(grid=self.grid, side=self.side, blocks=self.settings.target_blocks, draws=draws)
        # The targets come last; of the rest, a random choice.
        order = (draws.uniform(self.grid**2) + mask.flatten(1)).argsort(dim=1)
        return normalize(view), mask, order[:, : self.visible].sort(dim=1).values

    def forward(self, images: Tensor, mask: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """The loss of what `views` gives, and how latents of a place vary over images; 0: collapsed."""
        prefix = self.encoder.num_prefix_tokens
        with torch.no_grad():
            latents = self.in_parts(self.latents, images)[:, prefix:]
        context = encode_visible(self.student_encoder, embed(self.student_encoder, images), visible)
        target = normalized_latents(latents, self.settings.normalize)
        loss = latent_smooth_l1(self.predictor(context, visible), target, mask, beta=self.settings.beta)
        return {"loss": loss, "spread": latents.float().std(dim=0).mean()}

    def latents(self, images: Tensor) -> Tensor:
        """What the target encoder makes of whole images: (B, prefix+N, D)."""
        return encode(self.encoder, embed(self.encoder, images))


class Predictor(Decoder):
    """A small ViT from the encoded visible patches of an image to the latents (B, N, D) of all patches."""

    def __init__(self, *, grid: int, encoder_width: int, settings: Latent) -> None:
        super().__init__(
            grid=grid,
            patch_size=1,
            encoder_width=encoder_width,
            width=settings.predictor_width,
            depth=settings.predictor_depth,
            heads=settings.predictor_heads,
        )
        self.pixels = nn.Linear(settings.predictor_width, encoder_width)  # latents in the place of pixels
        nn.init.xavier_uniform_(self.pixels.weight)
        nn.init.zeros_(self.pixels.bias)


def block_mask(*, grid: int, side: int, blocks: int, draws: Draws) -> Tensor:
    """Choose square blocks of patches, which may overlap, in every image.

    grid, side: patches; blocks: how many
    returns:    (B, grid, grid), 1 = inside a block
    Source: Assran et al. 2023, §3 "Targets", with one size.
    """
    corner = (draws.uniform(blocks, 2) * (grid - side + 1)).floor()  # (B, blocks, row and column)
    steps = torch.arange(grid, device=corner.device)
    inside = (steps >= corner[..., None]) & (steps < corner[..., None] + side)  # (B, blocks, 2, grid)
    return (inside[:, :, 0, :, None] & inside[:, :, 1, None, :]).any(dim=1).float()


OBJECTIVE = Objective(build=build, settings=("latent",), shows_parts=True)
