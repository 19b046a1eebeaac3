"""Stylised test images without a trained network: each image gets the fine texture of another image.

Details finer than some cycles per image are replaced. The amplitudes of the other image under random phases
give a texture without its layout. Then every band of a bank of oriented filters gets the distribution of
values that the other image has in that band, including mean and standard deviation.

Source: Heeger & Bergen 1995, "Pyramid-based texture analysis/synthesis", who match distributions in a
steerable pyramid. Geirhos et al. 2019 stylise test images by AdaIN (Huang & Belongie 2017), with networks
trained on paintings.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from stages.corruptions.contract import Corruption
from stages.corruptions.settings import CorruptionSettings
from stages.study.seeds import Draws

ORIENTATIONS = 4
ROUNDS = 3  # bands overlap, so matching one disturbs its neighbours slightly


def corrupt(
    images: Tensor, *, level: float, settings: CorruptionSettings, masks: Tensor | None, draws: Draws
) -> Tensor:
    """Keep the coarse layout of each image and take the fine texture of the next image of the batch.

    images: (B, 3, S, S) in [0, 1]
    level:  share of the next image's texture, 0 to 1
    settings.cycles: cutoff frequency in cycles per image; frequencies below half of it stay unchanged, and
            those above it come from the next image
    Raises ValueError if the level is above 1; ParamsError if `cycles` is missing.
    """
    if level > 1:
        raise ValueError(f"{level:g} is above 1, the largest level")
    size = images.shape[-1]
    cutoff = 2 * settings.positive("cycles", of="stylised") / size  # units of π
    phases = torch.fft.fft2(draws.uniform(size, size, low=-1.0, high=1.0)).angle().to(images.device)
    changed = stylised(images, images.roll(-1, dims=0), phases=phases, cutoff=cutoff)
    return torch.lerp(images, changed, level).clamp(0, 1)


def stylised(images: Tensor, styles: Tensor, *, phases: Tensor, cutoff: float) -> Tensor:
    """Return images with the fine texture of other images, not clipped.

    images, styles: (B, 3, S, S); phases: (B, S, S) of a real image, radians; cutoff: units of π
    """
    coarse, bands = filter_bank(images.shape[-1], cutoff=cutoff)
    coarse, bands = coarse.to(images), bands.to(images)
    layout = filtered(images, coarse.square())
    spectrum = torch.fft.fft2(styles)
    scattered = torch.polar(spectrum.abs(), spectrum.angle() + phases[:, None])
    texture = torch.fft.ifft2(scattered * (1 - coarse.square())).real
    target = filtered(styles[:, :, None], bands).flatten(-2).sort(dim=-1).values  # (B, 3, K, S·S)
    for _ in range(ROUNDS):
        parts = filtered((layout + texture)[:, :, None], bands)
        order = parts.flatten(-2).argsort(dim=-1, stable=True)
        matched = torch.empty_like(target).scatter_(-1, order, target).view_as(parts)
        texture = filtered(matched, bands).sum(dim=2)
    return layout + texture


def filtered(images: Tensor, gains: Tensor) -> Tensor:
    """Multiply each frequency of images (..., S, S) by a gain (..., S, S), symmetric about 0."""
    return torch.fft.ifft2(torch.fft.fft2(images) * gains).real


def filter_bank(size: int, *, cutoff: float) -> tuple[Tensor, Tensor]:
    """Return a low-pass filter and oriented band-pass filters, whose squared gains sum to 1 everywhere.

    size: px; cutoff: units of π; the low-pass gain falls from 1 at half the cutoff to 0 at the cutoff
    returns: gains (S, S) and (octaves · ORIENTATIONS, S, S), in the order of torch.fft.fft2
    """
    axis = 2 * torch.fft.fftfreq(size)
    down, across = axis[:, None].expand(size, size), axis.expand(size, size)
    octave = torch.log2(torch.hypot(down, across).clamp(min=1e-9) / cutoff)  # 0 at the cutoff
    angle = torch.atan2(down, across)
    lobes = torch.stack(
        [(angle - math.pi * k / ORIENTATIONS).cos().abs() ** (ORIENTATIONS - 1) for k in range(ORIENTATIONS)]
    )
    squares = lobes.square()
    # A frequency and its negative get the same gain. π and -π are the same frequency.
    squares = squares + squares.flip(-2, -1).roll((1, 1), dims=(-2, -1))
    lobes = (squares / squares.sum(dim=0)).sqrt()
    # Each edge is a quarter of a sine, one octave wide; the last band reaches the corners of the spectrum.
    edges = max(0, math.ceil(math.log2(math.sqrt(2) / cutoff))) + 1
    phases = [math.pi / 2 * (octave + 1 - edge).clamp(0, 1) for edge in range(edges)]
    rings = [low.sin() * high.cos() for low, high in pairwise(phases)] + [phases[-1].sin()]
    return phases[0].cos(), torch.cat([ring * lobes for ring in rings])


CORRUPTION = Corruption(corrupt)
