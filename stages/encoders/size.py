"""Count the trainable parameters of an encoder."""

from stages.encoders.settings import Vit


def parameters(vit: Vit, *, image_size: int) -> int:
    """Return the number of trainable parameters of an encoder, without a head.

    image_size: px
    """
    width, patch = vit.width, vit.patch_size
    hidden = int(vit.mlp_ratio * width)
    patches = (image_size // patch) ** 2
    positions = (patches + 1) * width if vit.position == "learned" else 0
    attention = 4 * width * (width + 1)
    mlp = 2 * width * hidden + hidden + width
    block = attention + mlp + 4 * width  # including two norms
    return (3 * patch**2 + 1) * width + width + positions + vit.depth * block + 2 * width
