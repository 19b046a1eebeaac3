"""What the training loop trains."""

from timm.models.vision_transformer import VisionTransformer
from torch import nn


class Task(nn.Module):
    """An encoder and whatever its loss needs; forward(*inputs) gives {"loss": scalar, ...}."""

    encoder: VisionTransformer

    def before_step(self, progress: float) -> None:
        """Prepare for the next step; progress is the share of the training done, 0 to 1."""
