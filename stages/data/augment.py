"""Augment a batch on its device, with independent random draws for each image.

Images are (B, 3, H, W) float in [0, 1]. For a single image, each operation equals the torchvision function of
the same name with the same argument. Torchvision itself draws once for a whole batch.
"""

import math
from collections.abc import Callable
from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.data.settings import WeakView
from stages.study.seeds import Draws

Normalize = Callable[[Tensor], Tensor]  # maps values in [0, 1] to the encoder's input range


def with_probability(changed: Tensor, images: Tensor, p: float, *, draws: Draws) -> Tensor:
    """Replace each image by its changed version with probability p."""
    return torch.where((draws.uniform() < p)[:, None, None, None], changed, images)


def crop_boxes(
    *,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    draws: Draws,
) -> Tensor:
    """Draw boxes of random area and aspect ratio, as RandomResizedCrop does.

    size:    (H, W) in px
    scale:   range of the box's share of the area
    ratio:   range of width over height, log-uniform
    returns: (B, 4) long: top, left, height, width; the whole image if none of ten draws fits
    Source: Szegedy et al. 2015; torchvision RandomResizedCrop.
    """
    height, width = size
    area, log_ratio, top, left = draws.uniform(4, 10).unbind(1)  # (B, 10) each
    area = height * width * (scale[0] + (scale[1] - scale[0]) * area)
    shape = (math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * log_ratio).exp()
    w, h = (area * shape).sqrt().round().long(), (area / shape).sqrt().round().long()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.long().argmax(dim=1, keepdim=True)  # 0 if none fits
    h, w, top, left = (value.gather(1, first)[:, 0] for value in (h, w, top, left))
    valid = fits.any(dim=1)
    h, w = torch.where(valid, h, height), torch.where(valid, w, width)
    top, left = (top * (height - h + 1)).long(), (left * (width - w + 1)).long()
    return torch.stack([top, left, h, w], dim=1)


def resized_crop(images: Tensor, boxes: Tensor, *, flip: Tensor, size: int | None = None) -> Tensor:
    """Crop each image to its box, resize it bilinearly, and mirror it where flip is true.

    boxes: (B, 4) top, left, height, width in px
    flip:  (B,) bool
    size:  side of the result in px; None: the size of the images
    If a box is larger than the result, the triangular filter is widened accordingly, as in torchvision with
    antialias=True. If a box is smaller, no antialiasing is needed.
    """
    top, left, height, width = boxes.to(images).unbind(1)
    rows = _interpolation(
        images.shape[2], top, height, size=size or images.shape[2], flip=torch.zeros_like(flip)
    )
    columns = _interpolation(images.shape[3], left, width, size=size or images.shape[3], flip=flip)
    across = images.flatten(1, 2) @ columns.transpose(1, 2)  # (B, C·H, size)
    return rows[:, None] @ across.unflatten(1, images.shape[1:3])


def _interpolation(of: int, start: Tensor, length: Tensor, *, size: int, flip: Tensor) -> Tensor:
    """Return linear weights (B, size, of) that resample `length` of `of` px, from `start`, to `size` px."""
    centre = torch.arange(size, device=start.device, dtype=start.dtype) + 0.5
    centre = torch.where(flip[:, None], size - centre, centre)
    inside = (centre * length[:, None] / size - 0.5).clamp(min=0)
    position = start[:, None] + torch.minimum(inside, length[:, None] - 1)  # the crop's edge repeats
    source = torch.arange(of, device=start.device, dtype=start.dtype)
    distance = (position[:, :, None] - source).abs()
    if size >= of:  # no box is larger than the result
        return (1 - distance).clamp(min=0)
    reach = (length / size).clamp(min=1)[:, None, None]
    weights = (1 - distance / reach).clamp(min=0)
    # A widened triangle may reach beyond the crop. Weights outside the crop are dropped, and the rest are
    # normalised; weights of other triangles already sum to 1.
    in_crop = (source >= start[:, None]) & (source < (start + length)[:, None])  # (B, of)
    weights = weights * in_crop[:, None]
    return torch.where(reach > 1, weights / weights.sum(dim=2, keepdim=True), weights)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply each image by its factor. factor: (B,)"""
    return (images * factor[:, None, None, None]).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale each image's distance from its mean grey by its factor. factor: (B,)"""
    mean = rgb_to_grayscale(images)[:, :1].mean(dim=(2, 3), keepdim=True)
    return torch.lerp(mean, images, factor[:, None, None, None]).clamp(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Scale each pixel's distance from its grey value by the image's factor. factor: (B,)"""
    return torch.lerp(rgb_to_grayscale(images), images, factor[:, None, None, None]).clamp(0, 1)


def adjust_hue(images: Tensor, factor: Tensor) -> Tensor:
    """Rotate the hue of each image by a share of the colour circle. factor: (B,) in [-0.5, 0.5]"""
    value, low = images.amax(dim=1), images.amin(dim=1)  # (B, H, W)
    chroma = value - low
    red, green, blue = images.unbind(1)
    safe = torch.where(chroma > 0, chroma, 1)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + 6 * factor[:, None, None]
    sector = sector - 6 * (sector / 6).floor()  # in [0, 6)
    # Each channel is a trapezoidal function of the hue (Smith 1978).
    ramps = ((sector - 3).abs() - 1, 2 - (sector - 2).abs(), 2 - (sector - 4).abs())
    channels = [torch.addcmul(low, chroma, ramp.clamp(0, 1)) for ramp in ramps]
    return torch.stack(channels, dim=1)


def rgb_to_grayscale(images: Tensor) -> Tensor:
    """Replace all three channels by the luma."""
    red, green, blue = images.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue)[:, None].expand_as(images)


def gaussian_blur(images: Tensor, sigma: Tensor, *, radius: int) -> Tensor:
    """Blur each image with its own standard deviation.

    sigma:  (B,) px
    radius: the kernel has 2·radius + 1 taps; edges are reflected
    """
    taps = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (taps / sigma[:, None]).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)  # (B, taps)
    batch, channels, height, width = images.shape
    # One convolution for the whole batch: every channel of every image is a group with its own kernel.
    kernel = kernel.repeat_interleave(channels, dim=0)[:, None]  # (B·C, 1, taps)
    padded = F.pad(images, (radius, radius, radius, radius), mode="reflect").flatten(0, 1)[None]
    blurred = F.conv2d(padded, kernel[:, :, None, :], groups=batch * channels)
    blurred = F.conv2d(blurred, kernel[:, :, :, None], groups=batch * channels)
    return blurred.reshape(batch, channels, height, width)


def solarize(images: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert all values at or above the threshold."""
    return torch.where(images >= threshold, 1 - images, images)


@singledispatch  # photograph_views.py crops photographs
def random_resized_crop_flip(
    images: Tensor, *, scale_min: float, scale_max: float = 1.0, size: int | None = None, draws: Draws
) -> Tensor:
    """Take a random resized crop and mirror it with probability 0.5.

    scale_min, scale_max: range of the crop's share of the area
    size:                 side of the result in px; None: the size of the images
    """
    whole = (images.shape[2], images.shape[3])
    boxes = crop_boxes(size=whole, scale=(scale_min, scale_max), draws=draws)
    return resized_crop(images, boxes, flip=draws.uniform() < 0.5, size=size)


def weak_view(images: Tensor, *, settings: WeakView, draws: Draws) -> Tensor:
    """Take a random crop, mirror it with probability 0.5, and jitter or drop its colours if set."""
    view = random_resized_crop_flip(images, scale_min=settings.crop_scale_min, draws=draws)
    if settings.jitter_probability:
        jittered = color_jitter(view, strength=settings.jitter_strength, draws=draws)
        view = with_probability(jittered, view, settings.jitter_probability, draws=draws)
    if settings.grey_probability:
        view = with_probability(rgb_to_grayscale(view), view, settings.grey_probability, draws=draws)
    return view


def color_jitter(images: Tensor, *, strength: float, draws: Draws) -> Tensor:
    """Jitter brightness by ±0.4, contrast by ±0.4, saturation by ±0.2 and hue by ±0.1, times `strength`.

    The four always run in this order. Torchvision shuffles the order per image, which a batch cannot do.
    Source: the public configuration of MoCo v3 for ViT.
    """
    for adjust, reach in ((adjust_brightness, 0.4), (adjust_contrast, 0.4), (adjust_saturation, 0.2)):
        images = adjust(images, draws.uniform(low=max(0.0, 1 - strength * reach), high=1 + strength * reach))
    reach = min(0.5, 0.1 * strength)
    return adjust_hue(images, draws.uniform(low=-reach, high=reach))


def random_blur(images: Tensor, *, of: int | None = None, draws: Draws) -> Tensor:
    """Blur with a standard deviation from [0.1, 2] px at 224 px, scaled in proportion to other sizes.

    of: side in px of the images that these crops come from; None: the size of the images
    Source: Chen et al. 2020 (MoCo v2) for the range; SimCLR App. A for a kernel of a tenth of the image.
    """
    size = of or images.shape[-1]
    unit = size / 224
    sigma = draws.uniform(low=0.1 * unit, high=2.0 * unit)
    radius = min(max(1, round(size / 20)), images.shape[-1] - 1)  # reflection allows no larger radius
    return gaussian_blur(images, sigma.clamp(min=1e-3), radius=radius)


def random_colors(
    images: Tensor,
    *,
    jitter_probability: float,
    jitter_strength: float,
    grey_probability: float,
    blur_probability: float,
    solarize_probability: float,
    of: int | None = None,
    draws: Draws,
) -> Tensor:
    """Jitter the colours, drop them, blur and solarise, in this order and each with its own probability.

    of: side in px of the images that these crops come from; None: the size of the images
    Source: Grill et al. 2020 (BYOL), App. B; adopted by MoCo v3 and DINO.
    """
    jittered = color_jitter(images, strength=jitter_strength, draws=draws)
    images = with_probability(jittered, images, jitter_probability, draws=draws)
    images = with_probability(rgb_to_grayscale(images), images, grey_probability, draws=draws)
    images = with_probability(random_blur(images, of=of, draws=draws), images, blur_probability, draws=draws)
    if not solarize_probability:
        draws.uniform()  # unused; keeps later draws independent of this setting
        return images
    return with_probability(solarize(images), images, solarize_probability, draws=draws)
