"""The encoder of an arm, its size, and the operations of a forward pass through it."""

from stages.encoders.settings import Vit
from stages.encoders.size import parameters
from stages.render.words import listed, number
from stages.study.settings import Arm
from stages.study.study import Study


def vit_of(study: Study, arm: Arm) -> Vit:
    """Return the encoder of an arm: the encoder of the study with the arm's own settings."""
    changes = {key: value for key, value in arm if key in Vit.model_fields and value is not None}
    return study.vit.model_copy(update=changes)


def builds(study: Study) -> bool:
    """Return whether an arm has an encoder of the study; imported checkpoints have their own settings."""
    return any(arm.objective != "imported" for arm in study.arms.values())


def millions(study: Study) -> str | None:
    """Return the parameters of all encoders built here, as "0.20 million parameters".

    Sizes that read alike are named once. None: all encoders are imported.
    """
    built = [arm for arm in study.arms.values() if arm.objective != "imported"]
    sizes = sorted(parameters(vit_of(study, arm), image_size=study.data.image_size) for arm in built)
    names = dict.fromkeys(number(size / 1e6, digits=2) for size in sizes)
    return f"{listed(names)} million parameters" if names else None


def forward_flops(vit: Vit, *, image_size: int) -> int:
    """Return the floating-point operations of one image; a multiplication and an addition count as two.

    Only matrix products count: patch projection, attention and MLP of every block.
    """
    width, hidden = vit.width, int(vit.mlp_ratio * vit.width)
    patches = (image_size // vit.patch_size) ** 2
    tokens = patches + 1  # with the class token
    projection = patches * 3 * vit.patch_size**2 * width
    block = tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width
    return 2 * (projection + vit.depth * block)
