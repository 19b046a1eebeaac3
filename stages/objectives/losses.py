"""The losses, as pure functions on tensors."""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each query's own key among the keys of the batch, times 2τ.

    queries, keys: (B, D), not normalised; row i of each come from the same image
    returns:       scalar
    Source: van den Oord et al. 2018, Eq. 4; the factor 2τ is that of the published MoCo v3, and the weights
    of the paper's hybrid loss are to be read with it.
    """
    with torch.autocast(queries.device.type, enabled=False):  # it would take the product in bfloat16
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
    """Cross-entropy of each student view against each teacher view of the same images, but itself.

    student: logits (B, K) of every view, those that the teacher also sees first
    teacher: logits (B, K) of the views that the teacher sees, without gradient
    center:  (K,) taken from the teacher's logits before the softmax
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
    """Mean absolute error over the hidden pixels.

    reconstruction, images: (B, 3, S, S)
    mask:                   (B, h, w) of patches, 1 = hidden, h and w divide S
    returns:                scalar; 0 if nothing is hidden
    Source: Xie et al. 2022 (SimMIM), Eq. 2.
    """
    rows, columns = (size // cells for size, cells in zip(images.shape[2:], mask.shape[1:], strict=True))
    hidden = mask.repeat_interleave(rows, dim=1).repeat_interleave(columns, dim=2)[:, None]  # (B, 1, S, S)
    error = (reconstruction.float() - images.float()).abs() * hidden
    return error.sum() / (hidden.sum() * images.shape[1]).clamp(min=1)


def normalized_in_windows(images: Tensor, window: int) -> Tensor:
    """Each value less the mean of the square window around it, over the standard deviation there.

    images:  (B, 3, S, S)
    window:  odd, pixels of a side; at the edges only what lies inside the image
    returns: (B, 3, S, S) float32; 0 where nothing varies
    Source: a target that the published code of SimMIM has since Liu et al. 2022 (Swin V2), with 47 px.
    """

    with torch.autocast(images.device.type, enabled=False):  # it would take the products in bfloat16
        images = images.float()
        down, across = (_window_means(size, window).to(images) for size in images.shape[2:])
        centre = down @ images @ across.T
        variance = (down @ images.square() @ across.T - centre.square()).clamp(min=0)
        return (images - centre) / (variance + 1e-6).sqrt()


@lru_cache(maxsize=8)
def _window_means(size: int, window: int) -> Tensor:
    """(size, size) weights whose rows take the mean of a window around each place, cut off at the ends."""
    places = torch.arange(size)
    near = ((places[:, None] - places).abs() <= window // 2).float()
    return near / near.sum(dim=1, keepdim=True)


def masked_mse(predicted_patches: Tensor, images: Tensor, mask: Tensor, normalize: bool = True) -> Tensor:
    """Mean squared error over the hidden patches, against pixels normalised within each patch.

    predicted_patches: (B, N, p·p·3), values of a patch in row, column, channel order
    images:            (B, 3, S, S)
    mask:              (B, h, w) of patches, 1 = hidden, h·w = N
    normalize:         target minus its patch mean, over its patch standard deviation
    returns:           scalar; 0 if nothing is hidden
    Source: He et al. 2022 (MAE), §3 "Reconstruction target".
    """
    batch, rows, columns = mask.shape
    height, width = images.shape[2] // rows, images.shape[3] // columns
    target = images.float().reshape(batch, 3, rows, height, columns, width)
    target = target.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)  # (B, N, p·p·3)
    if normalize:
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    error = (predicted_patches.float() - target).square().mean(-1)  # (B, N)
    hidden = mask.reshape(batch, -1)
    return (error * hidden).sum() / hidden.sum().clamp(min=1)
