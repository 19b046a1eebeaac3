"""The encoder of an arm, and the operations of one image through it."""

from stages.encoders.settings import Vit
from stages.study.settings import Arm
from stages.study.study import Study


def vit_of(study: Study, arm: Arm) -> Vit:
    """The encoder of an arm: that of the study with what the arm changes of it."""
    own = {key: value for key, value in arm if key in Vit.model_fields and value is not None}
    return study.vit.model_copy(update=own)


def forward_flops(vit: Vit, *, image_size: int) -> int:
    """Floating-point operations of one image through an encoder, a multiplication and an addition being two.

    Matrix products alone: patch projection, attention and MLP of every block.
    """
    width, hidden = vit.width, int(vit.mlp_ratio * vit.width)
    patches = (image_size // vit.patch_size) ** 2
    tokens = patches + 1  # and the class token
    projection = patches * 3 * vit.patch_size**2 * width
    block = tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width
    return 2 * (projection + vit.depth * block)
