"""CL on the last block and MIM on an early block, trained together: L = (1 - λ) L_MIM + λ L_CL.

The paper finds that MIM has the better early blocks and CL the better late blocks. This hybrid uses each loss
where its method is better. The MIM loss uses the output of block k, so its gradient does not reach later
blocks. Blocks 1 to k learn from both losses, later blocks and the final norm only from CL. The MIM decoder
has its own norm after block k.

Paper: Fig. 10 compares the methods by block; the paper does not train this hybrid.
Source: the idea of Jiang et al. 2023, "Layer Grafted Pre-training" (ICLR). They train in sequence, first all
blocks with MIM and then the late blocks with CL. Training both at once, as here, is a different experiment.
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
    """Return the objective for an encoder, with λ as for a hybrid and the arm's mim_block as k."""
    return Layered(
        encoder,
        cl_weight=arm.cl_weight,
        gradient_ratio=arm.gradient_ratio,
        block=block_at(float(arm.mim_block or 1), depth=len(encoder.blocks)),
        settings=settings,
        seed=seed,
    )


def block_at(place: float, *, depth: int) -> int:
    """Return the number of a block, 1 to depth.

    place: number of the block; a value below 1 is a share of the depth, rounded to the nearest block
    """
    return round(place) if place >= 1 else max(1, round(place * depth))


class Layered(Hybrid):
    """A hybrid whose MIM loss uses an early block."""

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
    """Masked image modelling with the first blocks of an encoder."""

    def __init__(self, encoder: VisionTransformer, *, settings: Masked, seed: int, block: int) -> None:
        super().__init__(encoder, settings=settings, seed=seed)
        self.block = block  # from 1
        self.norm = nn.LayerNorm(encoder.embed_dim, eps=1e-6)

    def tokens(self, patches: Tensor) -> Tensor:
        """Return the decoder's input: the normalised tokens (B, prefix+N, D) after the block."""
        return self.norm(encode(self.encoder, patches, until=self.block))


OBJECTIVE = Objective(build=build, settings=("contrastive", "masked"))
