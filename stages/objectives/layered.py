"""CL on the last block and MIM on an early one, trained together: L = (1 - λ) L_MIM + λ L_CL.

The paper finds the early blocks of MIM and the late blocks of CL to be the better ones; this hybrid asks each
loss for what it is good for. The MIM loss reads the output of block k, so that no gradient of it reaches a
later block; blocks 1 to k learn from both. Its decoder reads that block through a norm of its own: the final
norm stands behind the last block and is left to CL, like all that comes after block k.

Paper: Fig. 10 for which method has the better blocks where; it trains no such hybrid.
Source: the idea is that of Jiang et al. 2023, "Layer Grafted Pre-training" (ICLR), who train by the two in
sequence: first by MIM, then the late blocks by CL. Here both are trained in one go, which is another
experiment.
"""

from collections.abc import Sequence

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.encoders.vit import encode
from stages.objectives.contract import Objective
from stages.objectives.hybrid import Hybrid
from stages.objectives.masked import MaskedImageModeling
from stages.objectives.settings import Masked, Objectives
from stages.study.seeds import derive
from stages.study.settings import Arm


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int] = ()
) -> "Layered":
    """The objective around an encoder, with λ as for a hybrid and the arm's mim_block as k."""
    return Layered(
        encoder,
        cl_weight=arm.cl_weight,
        gradient_ratio=arm.gradient_ratio,
        block=block_at(float(arm.mim_block or 1), depth=len(encoder.blocks)),
        settings=settings,
        seed=seed,
    )


def block_at(place: float, *, depth: int) -> int:
    """The number of a block, 1 to depth.

    place: a whole number: the block itself; below 1: a share of the depth, rounded to the nearest block
    """
    return round(place) if place >= 1 else max(1, round(place * depth))


class Layered(Hybrid):
    """A hybrid whose masked part ends at an early block."""

    def __init__(
        self,
        encoder: VisionTransformer,
        *,
        cl_weight: float | None,
        gradient_ratio: float | None = None,
        block: int,
        settings: Objectives,
        seed: int,
    ) -> None:
        super().__init__(
            encoder, cl_weight=cl_weight, gradient_ratio=gradient_ratio, settings=settings, seed=seed
        )
        self.masked = EarlyMasking(
            encoder, settings=settings.masked, seed=derive(seed, "masked"), block=block
        )


class EarlyMasking(MaskedImageModeling):
    """Masked image modelling by the first blocks of an encoder."""

    def __init__(self, encoder: VisionTransformer, *, settings: Masked, seed: int, block: int) -> None:
        super().__init__(encoder, settings=settings, seed=seed)
        self.block = block  # from 1
        self.norm = nn.LayerNorm(encoder.embed_dim, eps=1e-6)

    def tokens(self, patches: Tensor) -> Tensor:
        """What the decoder reads: the tokens (B, prefix+N, D) after the block, through the norm."""
        return self.norm(encode(self.encoder, patches, until=self.block))


OBJECTIVE = Objective(build=build, settings=("contrastive", "masked"))
