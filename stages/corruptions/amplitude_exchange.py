"""Images with the amplitudes of another image's spectrum: their shapes stay, their texture goes.

Source: Oppenheim & Lim 1981, "The Importance of Phase in Signals", as a style transfer without
weights (Yang & Soatto 2020, "FDA", who exchange the low frequencies alone).
"""

import torch
from torch import Tensor

from stages.corruptions.contract import Corruption
from stages.corruptions.settings import CorruptionSettings
from stages.study.seeds import Draws


def corrupt(
    images: Tensor, *, level: float, settings: CorruptionSettings, masks: Tensor | None, draws: Draws
) -> Tensor:
    """Images with their own phases and a share of the amplitudes of the next image of the batch.

    images: (B, 3, S, S) in [0, 1]; level: share of the other's amplitudes, 0 to 1
    Raises ValueError if the level is above 1.
    """
    if level > 1:
        raise ValueError(f"{level:g} is above 1, which is all there is")
    spectrum = torch.fft.fft2(images)
    own = spectrum.abs()
    amplitude = torch.lerp(own, own.roll(-1, dims=0), level)
    # The mean colour is no texture.
    amplitude[..., 0, 0] = own[..., 0, 0]
    return torch.fft.ifft2(torch.polar(amplitude, spectrum.angle())).real.clamp(0, 1)


CORRUPTION = Corruption(corrupt)
