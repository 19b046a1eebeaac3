"""CL + MIM: both objectives train one shared encoder, L = (1 - λ) L_MIM + λ L_CL.

Paper: §5, Fig. 12. The paper states the loss, but not which views its two branches see. Here each branch uses
the augmentation of its own method. Only the MIM branch trains the patch projection, because the CL branch
freezes it (unless objectives.contrastive.freeze_patch_embed is false).

λ alone does not show which loss dominates, because the gradients of the two losses have different norms. An
arm may set the ratio of the norms instead. λ is then computed from the gradients of the first batch, and
again whenever the gradient of one loss is measured, because the norms drift within an epoch.
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

# Gradients are measured in the first steps of an epoch and in every 16th step, for one loss per step. This
# adds one backward pass in a twelfth of the steps: 2 % of the time, for 156 steps per epoch.
FIRST = 4  # enough to fill both halves of both losses
EVERY = 16
NO_NORMS = {"norm_cl": math.nan, "norm_mim": math.nan}


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int] = ()
) -> "Hybrid":
    """Return the objective for an encoder, with the arm's cl_weight as λ, or with its gradient_ratio."""
    return Hybrid(
        encoder, cl_weight=arm.cl_weight, gradient_ratio=arm.gradient_ratio, settings=settings, seed=seed
    )


class Hybrid(Task):
    """The weighted sum of a contrastive and a masked objective that share their encoder."""

    separable = False  # because the contrastive loss is not

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
            gradient_ratio  # norm of the weighted CL gradient over that of MIM; None: λ is fixed
        )
        self.contrastive = MomentumContrast(
            encoder, settings=settings.contrastive, seed=derive(seed, "contrastive")
        )
        if cl_weight == 1 and settings.contrastive.freeze_patch_embed:
            # No loss trains the projection, and weight decay alone must not change it.
            encoder.patch_embed.requires_grad_(False)
        self.masked = MaskedImageModeling(encoder, settings=settings.masked, seed=derive(seed, "masked"))
        self.norms: list[list[float]] = [[], []]  # of each loss by block, in its newest measured batch
        self.odds: list[float] = []  # logarithms of λ / (1 - λ), for each step of the current epoch
        self.gradients: list[dict[str, float]] = []  # one row per epoch and block
        self.sums = GradientSums()  # of the current epoch
        self.step = -1  # number of the step in the current epoch, from 0

    def before_step(self, progress: float) -> None:
        """Update the key network of the contrastive branch. progress: share of the training done, 0 to 1"""
        self.contrastive.before_step(progress)
        self.step += 1

    def views(self, images: Tensor, *, normalize: Normalize, draws: Draws) -> tuple[Tensor, ...]:
        """Return two views for the contrastive branch, and one view with its mask for the masked branch."""
        contrastive = self.contrastive.views(images, normalize=normalize, draws=draws)
        return *contrastive, *self.masked.views(images, normalize=normalize, draws=draws)

    def forward(self, first: Tensor, second: Tensor, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the weighted loss and its two parts."""
        contrastive = self.contrastive(first, second)["loss"]
        masked = self.masked(images, mask)["loss"]
        if self.cl_weight is None:
            for number, loss in enumerate((contrastive, masked)):
                self.balance(number, self.block_gradients(loss))
        if 0 <= self.step < FIRST or (self.step > 0 and self.step % EVERY == 0):
            number = self.sums.due
            measured = self.block_gradients((contrastive, masked)[number])
            self.sums.add(measured)
            if self.gradient_ratio is not None:
                self.balance(number, measured)
        weight = self.cl_weight
        assert weight is not None
        if self.gradient_ratio is not None:
            self.odds.append(math.log(weight / (1 - weight)))
        loss = (1 - weight) * masked + weight * contrastive
        return {"loss": loss, "contrastive": contrastive.detach(), "masked": masked.detach()}

    def balance(self, number: int, measured: Sequence[Tensor]) -> None:
        """Set the λ that gives the newest gradients of both losses the arm's ratio of norms.

        number:   0 for CL, 1 for MIM
        measured: gradient of this loss for each block, (weights of the block,)
        """
        assert self.gradient_ratio is not None
        self.norms[number] = [gradient.norm().item() for gradient in measured]
        if all(self.norms):
            self.cl_weight = balancing_weight(self.gradient_ratio, (self.norms[0], self.norms[1]))

    def mean_weight(self) -> float:
        """Return λ, or the λ whose odds are the geometric mean over the steps of this epoch."""
        if self.gradient_ratio is None or not self.odds:
            return self.cl_weight or 0.0
        return 1 / (1 + math.exp(-sum(self.odds) / len(self.odds)))

    def after_epoch(self, epoch: int) -> None:
        """Record λ, and how well the two losses' gradients agree in each block.

        epoch: from 1
        """
        norms, agreements = self.sums.norms(), self.sums.agreements()
        weight = self.mean_weight()
        for block in range(len(self.encoder.blocks)):
            row = {"epoch": epoch, "block": block + 1, "cl_weight": weight}
            parts = agreements[block] if agreements else [math.nan] * 5
            row |= dict(zip(("dot", "square_cl", "square_mim", "half_cl", "half_mim"), parts, strict=True))
            row |= {"norm_cl": norms[0][block], "norm_mim": norms[1][block]} if norms else NO_NORMS
            self.gradients.append(row | {"batches": self.sums.batches})
        self.sums, self.odds, self.step = GradientSums(), [], -1

    def block_gradients(self, loss: Tensor) -> list[Tensor]:
        """Return the gradient of a loss for each block, (weights of the block,), over all processes."""
        parts = gradients(loss, [list(block.parameters()) for block in self.encoder.blocks])
        return [self.gather(gradient[None]).mean(dim=0) for gradient in parts]

    def artifacts(self) -> Artifacts:
        """Return the table of gradient agreement by epoch and block."""
        return Artifacts(tables={"gradients": self.gradients}, files={})

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state that a checkpoint between epochs needs besides the weights."""
        return {"gradients": self.gradients, "cl_weight": self.cl_weight, "norms": self.norms}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.gradients, self.cl_weight = list(state["gradients"]), state["cl_weight"]
        self.norms = [list(norms) for norms in state["norms"]]


OBJECTIVE = Objective(build=build, settings=("contrastive", "masked"))
