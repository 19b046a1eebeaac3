"""Silhouettes: objects as filled black shapes on white.

Source: the silhouette stimuli of Geirhos et al. 2019, "ImageNet-trained CNNs are biased towards texture".
"""

from torch import Tensor

from stages.corruptions.contract import Corruption
from stages.corruptions.settings import CorruptionSettings
from stages.study.seeds import Draws


def corrupt(
    images: Tensor, *, level: float, settings: CorruptionSettings, masks: Tensor | None, draws: Draws
) -> Tensor:
    """Draw silhouettes.

    images:  (B, 3, S, S); masks: (B, S, S) of 0 and 1; level: contrast, 0 to 1
    returns: (B, 3, S, S), grey
    Raises ValueError if the level is above 1.
    """
    if level > 1:
        raise ValueError(f"{level:g} is above 1, the largest level")
    assert masks is not None
    return (1 - level * masks.to(images))[:, None].expand_as(images)


CORRUPTION = Corruption(corrupt, needs_masks=True)
