"""Augmentation of a batch on its device, every image with its own random draw.

Images are (B, 3, H, W) float in [0, 1]. Each operation equals the torchvision function of the same name when
its argument is the same for one image; torchvision itself draws once for a whole batch.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.data.settings import WeakView
from stages.study.seeds import Draws

Normalize = Callable[[Tensor], Tensor]  # values in [0, 1] to what the encoder expects


def with_probability(changed: Tensor, images: Tensor, p: float, *, draws: Draws) -> Tensor:
    """Each image changed with probability p, as it was otherwise."""
    return torch.where((draws.uniform() < p)[:, None, None, None], changed, images)


def crop_boxes(
    *,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    draws: Draws,
) -> Tensor:
    """Boxes of random area and shape, as RandomResizedCrop draws them.

    size:    (H, W) in px; scale: share of the area; ratio: width over height, drawn along its logarithm
    returns: (B, 4) long: top, left, height, width; the whole image where ten draws did not fit
    Source: Szegedy et al. 2015; torchvision RandomResizedCrop.
    """
    height, width = size
    area, log_ratio, top, left = draws.uniform(4, 10).unbind(1)  # (B, 10) each
    area = height * width * (scale[0] + (scale[1] - scale[0]) * area)
    shape = (math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * log_ratio).exp()
    w, h = (area * shape).sqrt().round().long(), (area / shape).sqrt().round().long()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.long().argmax(dim=1, keepdim=True)  # 0 where none fits
    h, w, top, left = (value.gather(1, first)[:, 0] for value in (h, w, top, left))
    found = fits.any(dim=1)
    h, w = torch.where(found, h, height), torch.where(found, w, width)
    top, left = (top * (height - h + 1)).long(), (left * (width - w + 1)).long()
    return torch.stack([top, left, h, w], dim=1)


def resized_crop(images: Tensor, boxes: Tensor, *, flip: Tensor, size: int | None = None) -> Tensor:
    """Cut each image's box, scale it bilinearly, and mirror it where asked.

    boxes: (B, 4) top, left, height, width in px; flip: (B,) bool
    size:  px of a side of the result; None: the size of the images
    Where a box is larger than the result, the triangles that weigh its pixels are as much wider, as in
    torchvision with antialias=True; where it is smaller, there is nothing to antialias.
    """
    top, left, height, width = boxes.to(images).unbind(1)
    rows = _interpolation(
        images.shape[2], top, height, size=size or images.shape[2], flip=torch.zeros_like(flip)
    )
    columns = _interpolation(images.shape[3], left, width, size=size or images.shape[3], flip=flip)
    across = images.flatten(1, 2) @ columns.transpose(1, 2)  # (B, C·H, size)
    return rows[:, None] @ across.unflatten(1, images.shape[1:3])


def _interpolation(of: int, start: Tensor, length: Tensor, *, size: int, flip: Tensor) -> Tensor:
    """(B, size, of) weights that read `length` px of `of` from `start` as `size` px, linearly."""
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
    # A wider triangle reaches beyond the crop, which is left out, and its weights have yet to be made to
    # sum to 1; the others do.
    in_crop = (source >= start[:, None]) & (source < (start + length)[:, None])  # (B, of)
    weights = weights * in_crop[:, None]
    return torch.where(reach > 1, weights / weights.sum(dim=2, keepdim=True), weights)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply each image by its factor. factor: (B,)"""
    return (images * factor[:, None, None, None]).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move each image away from its mean grey by its factor. factor: (B,)"""
    mean = rgb_to_grayscale(images)[:, :1].mean(dim=(2, 3), keepdim=True)
    return torch.lerp(mean, images, factor[:, None, None, None]).clamp(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Move each pixel away from its grey by the image's factor. factor: (B,)"""
    return torch.lerp(rgb_to_grayscale(images), images, factor[:, None, None, None]).clamp(0, 1)


def adjust_hue(images: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue of each image by its share of the circle. factor: (B,) in [-0.5, 0.5]"""
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
    sector = sector - 6 * (sector / 6).floor()  # of 0 to 6
    # Each channel is a trapezoid of the hue (Smith 1978).
    ramps = ((sector - 3).abs() - 1, 2 - (sector - 2).abs(), 2 - (sector - 4).abs())
    channels = [torch.addcmul(low, chroma, ramp.clamp(0, 1)) for ramp in ramps]
    return torch.stack(channels, dim=1)


def rgb_to_grayscale(images: Tensor) -> Tensor:
    """Luma in all three channels."""
    red, green, blue = images.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue)[:, None].expand_as(images)


def gaussian_blur(images: Tensor, sigma: Tensor, *, radius: int) -> Tensor:
    """Blur each image with its own standard deviation.

    sigma: (B,) px; radius: the kernel has 2·radius + 1 taps, edges are reflected
    """
    taps = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (taps / sigma[:, None]).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)  # (B, taps)
    batch, channels, height, width = images.shape
    # One convolution for the batch: every channel of every image is a group with a kernel of its own.
    kernel = kernel.repeat_interleave(channels, dim=0)[:, None]  # (B·C, 1, taps)
    padded = F.pad(images, (radius, radius, radius, radius), mode="reflect").flatten(0, 1)[None]
    blurred = F.conv2d(padded, kernel[:, :, None, :], groups=batch * channels)
    blurred = F.conv2d(blurred, kernel[:, :, :, None], groups=batch * channels)
    return blurred.reshape(batch, channels, height, width)


def solarize(images: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert all values from the threshold on."""
    return torch.where(images >= threshold, 1 - images, images)


def random_resized_crop_flip(
    images: Tensor, *, scale_min: float, scale_max: float = 1.0, size: int | None = None, draws: Draws
) -> Tensor:
    """A random crop between two shares of the area, resized and mirrored half of the time.

    size: px of a side of the result; None: the size of the images
    """
    whole = (images.shape[2], images.shape[3])
    boxes = crop_boxes(size=whole, scale=(scale_min, scale_max), draws=draws)
    return resized_crop(images, boxes, flip=draws.uniform() < 0.5, size=size)


def weak_view(images: Tensor, *, settings: WeakView, draws: Draws) -> Tensor:
    """A random crop, mirrored half of the time, its colours jittered or dropped if that is asked for."""
    view = random_resized_crop_flip(images, scale_min=settings.crop_scale_min, draws=draws)
    if settings.jitter_probability:
        jittered = color_jitter(view, strength=settings.jitter_strength, draws=draws)
        view = with_probability(jittered, view, settings.jitter_probability, draws=draws)
    if settings.grey_probability:
        view = with_probability(rgb_to_grayscale(view), view, settings.grey_probability, draws=draws)
    return view


def color_jitter(images: Tensor, *, strength: float, draws: Draws) -> Tensor:
    """Random brightness ±0.4, contrast ±0.4, saturation ±0.2 and hue ±0.1, each times `strength`.

    The four follow each other in this order; torchvision shuffles it per image, which a batch cannot.
    Source: the public configuration of MoCo v3 for ViT.
    """
    for adjust, reach in ((adjust_brightness, 0.4), (adjust_contrast, 0.4), (adjust_saturation, 0.2)):
        images = adjust(images, draws.uniform(low=max(0.0, 1 - strength * reach), high=1 + strength * reach))
    reach = min(0.5, 0.1 * strength)
    return adjust_hue(images, draws.uniform(low=-reach, high=reach))


def random_blur(images: Tensor, *, of: int | None = None, draws: Draws) -> Tensor:
    """Blur with a standard deviation from [0.1, 2] px of a 224 px image, in proportion at other sizes.

    of: px of a side of the image that these are crops of; None: the size of the images
    Source: Chen et al. 2020 (MoCo v2) for the range; SimCLR App. A for a kernel of a tenth of the image.
    """
    size = of or images.shape[-1]
    unit = size / 224
    sigma = draws.uniform(low=0.1 * unit, high=2.0 * unit)
    radius = min(max(1, round(size / 20)), images.shape[-1] - 1)  # all that can be reflected
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
    """Jitter the colours, drop them, blur and solarise, each with its own probability and in this order.

    of: px of a side of the image that these are crops of; None: the size of the images
    Source: Grill et al. 2020 (BYOL), App. B; MoCo v3 and DINO take it over.
    """
    jittered = color_jitter(images, strength=jitter_strength, draws=draws)
    images = with_probability(jittered, images, jitter_probability, draws=draws)
    images = with_probability(rgb_to_grayscale(images), images, grey_probability, draws=draws)
    images = with_probability(random_blur(images, of=of, draws=draws), images, blur_probability, draws=draws)
    if not solarize_probability:
        draws.uniform()  # which image would be, so that what is drawn later does not depend on it
        return images
    return with_probability(solarize(images), images, solarize_probability, draws=draws)
