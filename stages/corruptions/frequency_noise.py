"""Noise in one band of spatial frequencies, with equal energy for every band.

Source: Park & Kim 2022, "How Do Vision Transformers Work?", §3, with bands 0.1 π wide. The amplitude is not
published, so it is a setting.
"""

import torch
from torch import Tensor

from stages.corruptions.contract import Corruption
from stages.corruptions.settings import CorruptionSettings
from stages.study.seeds import Draws


def corrupt(
    images: Tensor, *, level: float, settings: CorruptionSettings, masks: Tensor | None, draws: Draws
) -> Tensor:
    """Add noise without clipping, so that every band keeps its energy.

    images: (B, 3, S, S) in [0, 1]
    level:  upper end of the band in units of π; 1 is the highest frequency of a row, √2 that of the corners
    settings.width: width of the band; settings.amplitudes: root mean square of the noise in every image
    Raises ValueError if images of this size have no frequency in the band; ParamsError if a setting is
    missing.
    Paper: §3, Fig. 9 right.
    """
    size = images.shape[-1]
    width = settings.positive("width", of="frequency_noise")
    amplitude = settings.amplitude(of="frequency_noise")
    band = frequency_band(size, low=level - width, high=level).to(images.device)
    white = draws.uniform(3, size, size, low=-1.0, high=1.0).to(images)
    noise = torch.fft.ifft2(torch.fft.fft2(white) * band).real
    rms = noise.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return images + amplitude * noise / rms


def frequency_band(size: int, *, low: float, high: float) -> Tensor:
    """Return which components of the 2-D Fourier transform of an image lie in a ring of frequencies.

    size: px; low, high: radius in units of π, low < radius <= high
    returns: (size, size) of 0 and 1, in the order of torch.fft.fft2; always 0 for the mean of the image
    Raises ValueError if no component lies in the ring.
    """
    axis = 2 * torch.fft.fftfreq(size)  # units of π
    radius = torch.hypot(axis[:, None], axis)
    # Bounds such as 0.3 - 0.1 are not exact in binary.
    inside = (radius > low + 1e-6) & (radius <= high + 1e-6) & (radius > 0)
    if not inside.any():
        raise ValueError(f"images of {size} px have no frequency between {low:.3g} and {high:.3g} π")
    return inside.float()


CORRUPTION = Corruption(corrupt)
