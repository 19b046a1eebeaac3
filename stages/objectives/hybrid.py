"""CL + MIM: both objectives at once on one shared encoder, L = (1 - λ) L_MIM + λ L_CL.

Paper: §5, Fig. 12. The paper states the loss; which views its two branches saw is not published. Here each
branch sees the augmentation of its own method, and the patch projection learns from the MIM branch alone,
because the CL branch holds it still (unless objectives.contrastive.freeze_patch_embed is false).
"""

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.data.augment import Normalize
from stages.objectives.contrastive import MomentumContrast
from stages.objectives.masked import MaskedImageModeling
from stages.study.params import Arm, Objectives
from stages.study.seeds import Draws, derive
from stages.training.task import Task

SETTINGS = ("contrastive", "masked")  # the sections of objectives: that this objective depends on


def build(encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int) -> "Hybrid":
    """The objective around an encoder, with the arm's cl_weight as λ."""
    return Hybrid(encoder, cl_weight=float(arm.cl_weight or 0.0), settings=settings, seed=seed)


class Hybrid(Task):
    """The weighted sum of a contrastive and a masked objective that share their encoder."""

    separable = False  # because the contrastive part is not

    def __init__(
        self, encoder: VisionTransformer, *, cl_weight: float, settings: Objectives, seed: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.cl_weight = cl_weight
        self.contrastive = MomentumContrast(
            encoder, settings=settings.contrastive, seed=derive(seed, "contrastive")
        )
        if cl_weight == 1 and settings.contrastive.freeze_patch_embed:
            # Nothing teaches the projection, and weight decay alone must not move it.
            encoder.patch_embed.requires_grad_(False)
        self.masked = MaskedImageModeling(encoder, settings=settings.masked, seed=derive(seed, "masked"))

    def before_step(self, progress: float) -> None:
        """Move the key network of the contrastive branch. progress: share of the training done"""
        self.contrastive.before_step(progress)

    def views(self, images: Tensor, *, normalize: Normalize, draws: Draws) -> tuple[Tensor, ...]:
        """Two views for the contrastive branch, one view and its mask for the masked one."""
        contrastive = self.contrastive.views(images, normalize=normalize, draws=draws)
        return *contrastive, *self.masked.views(images, normalize=normalize, draws=draws)

    def forward(self, first: Tensor, second: Tensor, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The weighted loss and its two parts."""
        contrastive = self.contrastive(first, second)["loss"]
        masked = self.masked(images, mask)["loss"]
        loss = (1 - self.cl_weight) * masked + self.cl_weight * contrastive
        return {"loss": loss, "contrastive": contrastive.detach(), "masked": masked.detach()}
