"""CL as in MoCo v3: contrastive learning from two views of each image.

Source: Chen, Xie, He 2021, "An Empirical Study of Training Self-Supervised Vision Transformers".
From the paper and its public configuration: a momentum encoder without a queue (Alg. 1), symmetrised InfoNCE
times 2τ, a projector of 3 and a predictor of 2 layers with batch norm, a frozen random patch projection (§4,
unless freeze_patch_embed is false), and a momentum that rises to 1 along a cosine. The augmentation is
asymmetric: the second view is rarely blurred and sometimes solarised (App. A).
Departures: narrower heads by default (params.yaml), a fixed order of the colour operations, and blur in
proportion to the image.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.data.augment import Normalize, random_colors, random_resized_crop_flip
from stages.encoders.architecture import without_drop_path
from stages.encoders.vit import embed, encode_class_token
from stages.objectives.contract import Objective
from stages.objectives.losses import info_nce
from stages.objectives.settings import Contrastive, Objectives
from stages.study.seeds import Draws
from stages.study.settings import Arm
from stages.training.schedule import copy_momentum
from stages.training.task import Task


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int] = ()
) -> "MomentumContrast":
    """Return the objective for an encoder; the seed initialises the heads."""
    objective = MomentumContrast(encoder, settings=settings.contrastive, seed=seed)
    if settings.contrastive.freeze_patch_embed:
        encoder.patch_embed.requires_grad_(False)
    return objective


class MomentumContrast(Task):
    """An encoder that learns to match each view to its momentum copy's key of the other view."""

    separable = False  # the loss compares each query with every key of the batch

    def __init__(self, encoder: VisionTransformer, *, settings: Contrastive, seed: int) -> None:
        super().__init__()
        self.settings = settings
        width, hidden, output = encoder.embed_dim, settings.hidden_dim, settings.output_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            projector = perceptron(width, hidden, hidden, output)
            self.predictor = perceptron(output, hidden, output)
        self.encoder = encoder
        self.projector = projector
        self.key_encoder = without_drop_path(copy.deepcopy(encoder)).requires_grad_(False)
        self.key_projector = copy.deepcopy(projector).requires_grad_(False)

    @torch.no_grad()
    def before_step(self, progress: float) -> None:
        """Update the key network towards the query network. progress: share of the training done, 0 to 1"""
        momentum = copy_momentum(progress, start=self.settings.momentum)
        pairs = ((self.key_encoder, self.encoder), (self.key_projector, self.projector))
        for key_network, query_network in pairs:
            torch._foreach_lerp_([*key_network.parameters()], [*query_network.parameters()], 1 - momentum)

    def views(self, images: Tensor, *, normalize: Normalize, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return two normalised augmentations of each image. images: (B, 3, S, S) in [0, 1]"""
        settings = self.settings
        blur_and_solarize = (
            (settings.blur_probability, 0.0),
            (0.1 * settings.blur_probability, settings.solarize_probability),
        )
        views = []
        for blur, solar in blur_and_solarize:
            view = random_resized_crop_flip(images, scale_min=settings.crop_scale_min, draws=draws)
            view = random_colors(
                view,
                jitter_probability=settings.jitter_probability,
                jitter_strength=settings.jitter_strength,
                grey_probability=settings.grey_probability,
                blur_probability=blur,
                solarize_probability=solar,
                draws=draws,
            )
            views.append(normalize(view))
        return views[0], views[1]

    def forward(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        """Return the loss of two views. first, second: (B, 3, S, S), normalised"""
        # The encoder processes both views in one pass. The heads process one view at a time, because their
        # batch norm uses the statistics of one view, over the batch of all processes.
        both = torch.cat([first, second])
        queries = [
            self.predictor(self.projector(self.gather(tokens)))
            for tokens in self.in_parts(self.query_tokens, both).chunk(2)
        ]
        with torch.no_grad():
            keys = [
                self.key_projector(self.gather(tokens))
                for tokens in self.in_parts(self.key_tokens, both).chunk(2)
            ]
        temperature = self.settings.temperature
        loss = info_nce(queries[0], keys[1], temperature) + info_nce(queries[1], keys[0], temperature)
        return {"loss": loss}

    def query_tokens(self, images: Tensor) -> Tensor:
        """Return the class tokens (B, D) of the trained encoder."""
        frozen = self.settings.freeze_patch_embed
        return encode_class_token(self.encoder, embed(self.encoder, images, frozen_projection=frozen))

    def key_tokens(self, images: Tensor) -> Tensor:
        """Return the class tokens (B, D) of the momentum encoder."""
        return encode_class_token(self.key_encoder, embed(self.key_encoder, images))


def perceptron(*widths: int) -> nn.Sequential:
    """Return bias-free linear layers, batch norm after each, ReLU between; the last norm is not affine."""
    layers: list[nn.Module] = []
    for index, (width, following) in enumerate(pairwise(widths)):
        last = index == len(widths) - 2
        layers += [nn.Linear(width, following, bias=False), nn.BatchNorm1d(following, affine=not last)]
        if not last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


OBJECTIVE = Objective(build=build, settings=("contrastive",))
