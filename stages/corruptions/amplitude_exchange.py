"""Exchange of Fourier amplitudes between images: shapes stay, textures change.

Source: Oppenheim & Lim 1981, "The Importance of Phase in Signals". It is a style transfer without weights, as
in Yang & Soatto 2020, "FDA", who exchange only low frequencies.
"""

import torch
from torch import Tensor

from stages.corruptions.contract import Corruption
from stages.corruptions.settings import CorruptionSettings
from stages.study.seeds import Draws


def corrupt(
    images: Tensor, *, level: float, settings: CorruptionSettings, masks: Tensor | None, draws: Draws
) -> Tensor:
    """Keep the phases of each image and mix its amplitudes with those of the next image of the batch.

    images: (B, 3, S, S) in [0, 1]; level: share of the next image's amplitudes, 0 to 1
    Raises ValueError if the level is above 1.
    """
    if level > 1:
        raise ValueError(f"{level:g} is above 1, the largest level")
    spectrum = torch.fft.fft2(images)
    original = spectrum.abs()
    amplitude = torch.lerp(original, original.roll(-1, dims=0), level)
    # Keep the mean colour, which is not texture.
    amplitude[..., 0, 0] = original[..., 0, 0]
    return torch.fft.ifft2(torch.polar(amplitude, spectrum.angle())).real.clamp(0, 1)


CORRUPTION = Corruption(corrupt)
