"""Edge images.

Source: the edge stimuli of Geirhos et al. 2019, "ImageNet-trained CNNs are biased towards texture". They use
the Canny detector; here the strength of the gradient is drawn, which needs no thresholds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.corruptions.contract import Corruption
from stages.corruptions.settings import CorruptionSettings
from stages.data.augment import rgb_to_grayscale
from stages.study.seeds import Draws


def corrupt(
    images: Tensor, *, level: float, settings: CorruptionSettings, masks: Tensor | None, draws: Draws
) -> Tensor:
    """Draw dark edges on white.

    images:  (B, 3, S, S) in [0, 1]; level: contrast of the steepest edge of an image, 0 to 1
    returns: (B, 3, S, S), grey; a uniform image becomes white
    Raises ValueError if the level is above 1.
    """
    if level > 1:
        raise ValueError(f"{level:g} is above 1, the largest level")
    grey = F.pad(rgb_to_grayscale(images)[:, :1], (1, 1, 1, 1), mode="replicate")
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]).to(images)
    gradient = F.conv2d(grey, torch.stack([sobel, sobel.T])[:, None])  # (B, 2, S, S)
    steepness = gradient.square().sum(dim=1, keepdim=True).sqrt()
    steepest = steepness.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    return (1 - level * steepness / steepest).expand_as(images)


CORRUPTION = Corruption(corrupt)
