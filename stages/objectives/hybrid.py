"""CL + MIM: both objectives at once on one shared encoder, L = (1 - λ) L_MIM + λ L_CL.

Paper: §5, Fig. 12. The paper states the loss; which views its two branches saw is not published. Here each
branch sees the augmentation of its own method, and the patch projection learns from the MIM branch alone,
because the CL branch holds it still (unless objectives.contrastive.freeze_patch_embed is false).
"""

from collections.abc import Callable, Sequence

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.data.augment import Normalize
from stages.objectives.contract import Objective
from stages.objectives.contrastive import MomentumContrast
from stages.objectives.masked import MaskedImageModeling
from stages.objectives.settings import Objectives
from stages.study.seeds import Draws, derive
from stages.study.settings import Arm
from stages.training.gradients import agreement, gradients
from stages.training.task import Artifacts, Task


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int] = ()
) -> "Hybrid":
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
        self.gradients: list[dict[str, float]] = []  # a row per epoch and block

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

    def after_epoch(self, epoch: int, views: tuple[Tensor, ...]) -> None:
        """Keep how the gradients of the two losses, before their weights, agree on each block of the encoder.

        epoch: from 1; views: the last batch of the epoch, as forward takes it
        """
        first, second, images, mask = views
        contrastive = self.block_gradients(lambda: self.contrastive(first, second)["loss"])
        masked = self.block_gradients(lambda: self.masked(images, mask)["loss"])
        for block, pair in enumerate(zip(contrastive, masked, strict=True), start=1):
            cosine, norm_cl, norm_mim = agreement(*pair)
            row = {"epoch": epoch, "block": block, "cosine": cosine, "norm_cl": norm_cl, "norm_mim": norm_mim}
            self.gradients.append(row)

    def block_gradients(self, loss: Callable[[], Tensor]) -> list[Tensor]:
        """The gradient of a loss by each block of the encoder, (weights of the block,), of all processes."""
        found = gradients(loss(), [list(block.parameters()) for block in self.encoder.blocks])
        return [self.gather(gradient[None]).mean(dim=0) for gradient in found]

    def artifacts(self) -> Artifacts:
        """How the gradients of the two losses agreed, by epoch and block."""
        return Artifacts(tables={"gradients": self.gradients}, files={})

    def get_extra_state(self) -> list[dict[str, float]]:
        """What a checkpoint keeps besides the weights."""
        return self.gradients

    def set_extra_state(self, state: list[dict[str, float]]) -> None:
        """Go on from a checkpoint."""
        self.gradients = list(state)


OBJECTIVE = Objective(build=build, settings=("contrastive", "masked"))
