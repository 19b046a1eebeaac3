"""The losses, as pure functions on tensors."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of identifying each query's key among all keys of the batch, times 2τ.

    queries, keys: (B, D), not normalised; row i of both comes from the same image
    temperature:   τ
    returns:       scalar
    Source: van den Oord et al. 2018, Eq. 4. The factor 2τ is that of the published MoCo v3; the CL weights of
    the paper's hybrid loss assume it.
    """
    with torch.autocast(queries.device.type, enabled=False):  # autocast would use bfloat16 for the product
        queries = F.normalize(queries.float(), dim=1)
        keys = F.normalize(keys.float(), dim=1)
        logits = queries @ keys.T / temperature  # (B, B)
        positives = torch.arange(len(queries), device=queries.device)
        return 2 * temperature * F.cross_entropy(logits, positives)


def dino_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Return the cross-entropy between student and teacher, over all pairs of different views of an image.

    student: logits (B, K) of every view; the teacher's views come first
    teacher: logits (B, K) of the teacher's views, without gradient
    center:  (K,) subtracted from the teacher's logits before the softmax
    returns: scalar, the mean over images and pairs of views
    Source: Caron et al. 2021 (DINO), Eq. 1-3 and Alg. 1.
    """
    targets = [((logits.float() - center) / teacher_temperature).softmax(dim=1) for logits in teacher]
    predicted = [(logits.float() / student_temperature).log_softmax(dim=1) for logits in student]
    terms = [
        -(target * log_probability).sum(dim=1).mean()
        for i, target in enumerate(targets)
        for j, log_probability in enumerate(predicted)
        if i != j
    ]
    return torch.stack(terms).mean()


def masked_l1(reconstruction: Tensor, images: Tensor, mask: Tensor) -> Tensor:
    """Return the mean absolute error over the hidden pixels.

    reconstruction, images: (B, 3, S, S)
    mask:                   (B, h, w) of patches, 1 = hidden, h and w divide S
    returns:                scalar; 0 if nothing is hidden
    Source: Xie et al. 2022 (SimMIM), Eq. 2.
    """
    rows, columns = (size // cells for size, cells in zip(images.shape[2:], mask.shape[1:], strict=True))
    hidden = mask.repeat_interleave(rows, dim=1).repeat_interleave(columns, dim=2)[:, None]  # (B, 1, S, S)
    error = (reconstruction.float() - images.float()).abs() * hidden
    return error.sum() / (hidden.sum() * images.shape[1]).clamp(min=1)


@torch.no_grad()
def mean_of_surroundings(images: Tensor, mask: Tensor, patches: int = 5) -> Tensor:
    """Predict every pixel as the mean of the visible pixels around it, a baseline without an encoder.

    images:  (B, 3, S, S)
    mask:    (B, h, w) of patches, 1 = hidden, h and w divide S; at least one is visible in every image
    patches: side of the square window around a pixel, in patches; if nothing is visible in the window, all
             visible pixels of the image are averaged
    returns: (B, 3, S, S) float32
    """
    with torch.autocast(images.device.type, enabled=False):
        images = images.float()
        rows, columns = (size // cells for size, cells in zip(images.shape[2:], mask.shape[1:], strict=True))
        visible = 1 - mask.float().repeat_interleave(rows, dim=1).repeat_interleave(columns, dim=2)[:, None]
        down, across = (
            _window_means(size, patches * step).to(images)
            for size, step in zip(images.shape[2:], (rows, columns), strict=True)
        )
        count = down @ visible @ across.T  # share of the window, (B, 1, S, S)
        near = down @ (images * visible) @ across.T / count.clamp(min=1e-12)
        everywhere = (images * visible).sum(dim=(2, 3)) / visible.sum(dim=(2, 3)).clamp(min=1)
        return torch.where(count > 0, near, everywhere[:, :, None, None])


def normalized_in_windows(images: Tensor, window: int) -> Tensor:
    """Standardise each value by the mean and standard deviation of the square window around it.

    images:  (B, 3, S, S)
    window:  side in px, odd; at the edges, only the part inside the image counts
    returns: (B, 3, S, S) float32; 0 in constant regions
    Source: a target in the published code of SimMIM since Liu et al. 2022 (Swin V2), with 47 px.
    """

    with torch.autocast(images.device.type, enabled=False):  # autocast would use bfloat16 for the products
        images = images.float()
        down, across = (_window_means(size, window).to(images) for size in images.shape[2:])
        centre = down @ images @ across.T
        variance = (down @ images.square() @ across.T - centre.square()).clamp(min=0)
        return (images - centre) / (variance + 1e-6).sqrt()


@lru_cache(maxsize=8)
def _window_means(size: int, window: int) -> Tensor:
    """Return weights (size, size); each row averages a window around one place, truncated at the ends."""
    places = torch.arange(size)
    near = ((places[:, None] - places).abs() <= window // 2).float()
    return near / near.sum(dim=1, keepdim=True)


def normalized_latents(latents: Tensor, over: Literal["image", "token"]) -> Tensor:
    """Standardise latents to mean 0 and standard deviation 1.

    latents: (B, N, D) of patches
    over:    token: over the D values of each patch; image: each of the D values over the N patches of an
             image, which removes everything that all patches of an image share
    returns: (B, N, D) float32
    Source: for token, the public code of I-JEPA (Assran et al. 2023); for image, data2vec on speech (Baevski
    et al. 2022, §3.3).
    """
    with torch.autocast(latents.device.type, enabled=False):
        latents = latents.float()
        if over == "token":
            return F.layer_norm(latents, latents.shape[-1:])
        return F.instance_norm(latents.transpose(1, 2)).transpose(1, 2)


def latent_smooth_l1(predicted: Tensor, target: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Return the smooth L1 distance between predicted and target latents, over the target patches.

    predicted, target: (B, N, D), the target without gradient
    mask:              (B, h, w) of patches, 1 = target, h·w = N, at least one in every image
    beta:              difference at which the loss changes from quadratic to linear
    returns:           scalar, the mean over the target patches of an image, then over images
    Source: Baevski et al. 2022 (data2vec), §3.4, and the public code of I-JEPA, whose paper uses a squared
    distance.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        distance = F.smooth_l1_loss(predicted.float(), target.float(), beta=beta, reduction="none")
        of_image = mask.flatten(1) / mask.sum(dim=(1, 2))[:, None]
        return (distance.mean(dim=-1) * of_image).sum(dim=1).mean()


def masked_mse(predicted_patches: Tensor, images: Tensor, mask: Tensor, normalize: bool = True) -> Tensor:
    """Return the mean squared error over the hidden patches.

    predicted_patches: (B, N, p·p·3), values of a patch in row, column, channel order
    images:            (B, 3, S, S)
    mask:              (B, h, w) of patches, 1 = hidden, h·w = N
    normalize:         standardise the target pixels within each patch
    returns:           scalar; 0 if nothing is hidden
    Source: He et al. 2022 (MAE), §3 "Reconstruction target".
    """
    batch, rows, columns = mask.shape
    height, width = images.shape[2] // rows, images.shape[3] // columns
    target = images.float().reshape(batch, 3, rows, height, columns, width)
    target = target.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)  # (B, N, p·p·3)
    if normalize:
        target = target - target.mean(-1, keepdim=True)
        # Tensor.var takes several times as long over short rows on a CPU.
        variance = target.square().sum(-1, keepdim=True) / (target.shape[-1] - 1)
        target = target / (variance + 1e-6).sqrt()
    error = (predicted_patches.float() - target).square().mean(-1)  # (B, N)
    hidden = mask.reshape(batch, -1)
    return (error * hidden).sum() / hidden.sum().clamp(min=1)
