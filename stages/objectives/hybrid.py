"""CL + MIM: both objectives at once on one shared encoder, L = (1 - λ) L_MIM + λ L_CL.

Paper: §5, Fig. 12. The paper states the loss; which views its two branches saw is not published. Here each
branch sees the augmentation of its own method, and the patch projection learns from the MIM branch alone,
because the CL branch holds it still (unless objectives.contrastive.freeze_patch_embed is false).

λ says little about which loss leads, because the gradients of the two differ in length. An arm may name their
ratio instead of λ. Then λ is set from the first batch, and after every epoch from the norms of its gradients.
"""

import math
from collections.abc import Sequence
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.data.augment import Normalize
from stages.objectives.contract import Objective
from stages.objectives.contrastive import MomentumContrast
from stages.objectives.masked import MaskedImageModeling
from stages.objectives.settings import Objectives
from stages.study.seeds import Draws, derive
from stages.study.settings import Arm
from stages.training.gradients import GradientSums, balancing_weight, gradients
from stages.training.task import Artifacts, Task

# Measured are the gradients of the first steps of an epoch and of every 16th, of one loss a step: an added
# backward pass of one loss in a twelfth of the steps, 2 % of the time of a training of 156 steps an epoch.
FIRST = 4  # fill both halves of both losses
EVERY = 16
NO_NORMS = {"norm_cl": math.nan, "norm_mim": math.nan}


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int] = ()
) -> "Hybrid":
    """The objective around an encoder, with the arm's cl_weight as λ, or its gradient_ratio."""
    return Hybrid(
        encoder, cl_weight=arm.cl_weight, gradient_ratio=arm.gradient_ratio, settings=settings, seed=seed
    )


class Hybrid(Task):
    """The weighted sum of a contrastive and a masked objective that share their encoder."""

    separable = False  # because the contrastive part is not

    def __init__(
        self,
        encoder: VisionTransformer,
        *,
        cl_weight: float | None,
        gradient_ratio: float | None = None,
        settings: Objectives,
        seed: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.cl_weight = cl_weight  # λ; None until the first batch sets it
        self.gradient_ratio = (
            gradient_ratio  # of the weighted gradient of CL to that of MIM; None: λ is fixed
        )
        self.contrastive = MomentumContrast(
            encoder, settings=settings.contrastive, seed=derive(seed, "contrastive")
        )
        if cl_weight == 1 and settings.contrastive.freeze_patch_embed:
            # Nothing teaches the projection, and weight decay alone must not move it.
            encoder.patch_embed.requires_grad_(False)
        self.masked = MaskedImageModeling(encoder, settings=settings.masked, seed=derive(seed, "masked"))
        self.gradients: list[dict[str, float]] = []  # a row per epoch and block
        self.sums = GradientSums()  # of this epoch
        self.step = -1  # of this epoch, from 0

    def before_step(self, progress: float) -> None:
        """Move the key network of the contrastive branch. progress: share of the training done"""
        self.contrastive.before_step(progress)
        self.step += 1

    def views(self, images: Tensor, *, normalize: Normalize, draws: Draws) -> tuple[Tensor, ...]:
        """Two views for the contrastive branch, one view and its mask for the masked one."""
        contrastive = self.contrastive.views(images, normalize=normalize, draws=draws)
        return *contrastive, *self.masked.views(images, normalize=normalize, draws=draws)

    def forward(self, first: Tensor, second: Tensor, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The weighted loss and its two parts."""
        contrastive = self.contrastive(first, second)["loss"]
        masked = self.masked(images, mask)["loss"]
        if self.cl_weight is None:
            self.cl_weight = self.first_weight(contrastive, masked)
        if 0 <= self.step < FIRST or (self.step > 0 and self.step % EVERY == 0):
            self.sums.add(self.block_gradients((contrastive, masked)[self.sums.due]))
        loss = (1 - self.cl_weight) * masked + self.cl_weight * contrastive
        return {"loss": loss, "contrastive": contrastive.detach(), "masked": masked.detach()}

    def first_weight(self, contrastive: Tensor, masked: Tensor) -> float:
        """The λ that gives the gradients of the two losses of one batch the ratio of the arm."""
        assert self.gradient_ratio is not None
        norms = [
            [gradient.norm().item() for gradient in self.block_gradients(loss)]
            for loss in (contrastive, masked)
        ]
        return balancing_weight(self.gradient_ratio, (norms[0], norms[1]))

    def after_epoch(self, epoch: int) -> None:
        """Keep how the gradients of the two losses agreed on each block, and set λ for the next epoch.

        epoch: from 1
        """
        norms, agreements = self.sums.norms(), self.sums.agreements()
        for block in range(len(self.encoder.blocks)):
            row = {"epoch": epoch, "block": block + 1, "cl_weight": self.cl_weight or 0.0}
            parts = agreements[block] if agreements else [math.nan] * 5
            row |= dict(zip(("dot", "square_cl", "square_mim", "half_cl", "half_mim"), parts, strict=True))
            row |= {"norm_cl": norms[0][block], "norm_mim": norms[1][block]} if norms else NO_NORMS
            self.gradients.append(row | {"batches": self.sums.batches})
        if norms and self.gradient_ratio is not None:
            self.cl_weight = balancing_weight(self.gradient_ratio, norms)
        self.sums, self.step = GradientSums(), -1

    def block_gradients(self, loss: Tensor) -> list[Tensor]:
        """The gradient of a loss by each block of the encoder, (weights of the block,), of all processes."""
        parts = gradients(loss, [list(block.parameters()) for block in self.encoder.blocks])
        return [self.gather(gradient[None]).mean(dim=0) for gradient in parts]

    def artifacts(self) -> Artifacts:
        """How the gradients of the two losses agreed, by epoch and block."""
        return Artifacts(tables={"gradients": self.gradients}, files={})

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint, made between epochs, keeps besides the weights."""
        return {"gradients": self.gradients, "cl_weight": self.cl_weight}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.gradients, self.cl_weight = list(state["gradients"]), state["cl_weight"]


OBJECTIVE = Objective(build=build, settings=("contrastive", "masked"))
