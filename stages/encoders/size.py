"""How many numbers an encoder learns."""

from stages.encoders.settings import Vit


def parameters(vit: Vit, *, image_size: int) -> int:
    """How many numbers an encoder learns: projection, class token, learnt positions, blocks, final norm."""
    width, patch = vit.width, vit.patch_size
    hidden = int(vit.mlp_ratio * width)
    patches = (image_size // patch) ** 2
    positions = (patches + 1) * width if vit.position == "learned" else 0
    attention = 4 * width * (width + 1)
    mlp = 2 * width * hidden + hidden + width
    block = attention + mlp + 4 * width  # and two norms
    return (3 * patch**2 + 1) * width + width + positions + vit.depth * block + 2 * width
