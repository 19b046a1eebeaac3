"""Semantic segmentation from patch tokens: targets, heads and mean intersection over union (mIoU).

All heads score patches, and the scores are interpolated to pixels. So only the tokens differ between arms.
Source: Oquab et al. 2023 (DINOv2), §7.4, for the linear head on patch tokens; Balažević et al. 2023
(Hummingbird), for nearest neighbours of patches; Everingham et al. 2010 (PASCAL VOC), for the score.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from stages.probes import knn, linear
from stages.probes.settings import Segmentation

IGNORED = -100  # class of pixels that do not count; the default of cross_entropy


def pixel_classes(masks: Tensor, labels: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Return the class of every pixel: 0 for background, the label of the image plus 1 for its object.

    masks, ignored: bool (n, H, W), object pixels and pixels of class IGNORED; labels: (n,)
    """
    classes = masks.long() * (labels + 1)[:, None, None]
    return classes if ignored is None else classes.masked_fill(ignored, IGNORED)


def patch_classes(pixels: Tensor, *, grid: int, classes: int) -> Tensor:
    """Return the most frequent class of every patch, the lowest of equals; IGNORED if all pixels are.

    pixels:  (n, H, W), H a multiple of the grid
    returns: (n, grid²), row by row
    """
    side = pixels.shape[1] // grid
    parts = pixels.unflatten(1, (grid, side)).unflatten(3, (grid, side))  # (n, g, s, g, s)
    parts = parts.permute(0, 1, 3, 2, 4).flatten(3)
    counts = torch.stack([(parts == name).sum(dim=-1) for name in range(classes)], dim=-1)
    return torch.where(counts.sum(dim=-1) > 0, counts.argmax(dim=-1), IGNORED).flatten(1)


def upsampled(scores: Tensor, *, size: int) -> Tensor:
    """Interpolate scores of patches linearly to pixels.

    scores: (n, N, C), N = g·g; returns: (n, C, size, size)
    """
    grid = round(scores.shape[1] ** 0.5)
    maps = scores.transpose(1, 2).unflatten(2, (grid, grid))
    return F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)


def fit_linear(
    tokens: Tensor, targets: Tensor, *, classes: int, settings: Segmentation, generator: Generator
) -> tuple[linear.LinearHead, float]:
    """Fit a linear head on standardised tokens; held-out training images choose its learning rate.

    tokens:  (n, N, D)
    targets: (n, N), classes of the patches; IGNORED patches are skipped
    returns: the head and its learning rate
    """
    held, fitting = linear.held_out(len(tokens), share=settings.validation_fraction, generator=generator)
    fitted, names = _counted(tokens, targets, images=fitting)
    mean, std = fitted.mean(dim=0), fitted.std(dim=0).clamp(min=1e-6)
    weights = linear.train_heads(
        (fitted - mean) / std,
        names,
        classes=classes,
        rates=torch.tensor(settings.learning_rates, device=tokens.device),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        generator=generator,
    )
    chosen, names = _counted(tokens, targets, images=held)
    hits = linear.predict((chosen - mean) / std, weights) == names
    best = int(hits.float().mean(dim=1).argmax())
    return linear.LinearHead(weights[best], mean=mean, std=std), settings.learning_rates[best]


def _counted(tokens: Tensor, targets: Tensor, *, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens (m, D) and classes (m,) of the patches of some images, without IGNORED patches."""
    names = targets[images.to(targets.device)].flatten()
    rows = tokens[images.to(tokens.device)].flatten(0, 1)[(names != IGNORED).to(tokens.device)]
    return rows.float(), names[names != IGNORED]


class NearestPatches:
    """A nearest-neighbour classifier of tokens, with training patches as its bank."""

    def __init__(
        self, tokens: Tensor, targets: Tensor, *, classes: int, settings: Segmentation, generator: Generator
    ) -> None:
        """Draw a bank of patches without IGNORED ones. tokens: (n, N, D), targets: (n, N)"""
        drawn = torch.randperm(targets.numel(), generator=generator)
        drawn = drawn[(targets.flatten()[drawn.to(targets.device)] != IGNORED).cpu()]
        drawn = drawn[: settings.bank].to(tokens.device)
        self.bank, self.names = tokens.flatten(0, 1)[drawn].float(), targets.flatten()[drawn]
        self.classes, self.settings = classes, settings

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return shares of the votes. tokens: (n, N, D), returns: (n, N, C)"""
        votes = knn.votes(
            self.bank,
            self.names,
            tokens.flatten(0, 1).float(),
            k=self.settings.k,
            temperature=self.settings.temperature,
            classes=self.classes,
        )
        return (votes / votes.sum(dim=1, keepdim=True)).unflatten(0, tokens.shape[:2])


def overlaps(
    predicted: Tensor, truth: Tensor, *, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return intersection and union of each class in each image, in pixels; IGNORED pixels do not count.

    predicted, truth: (n, H, W); returns: (n, C) each
    """
    counted = truth != IGNORED
    image = torch.arange(len(truth), device=truth.device)[:, None, None].expand_as(truth)
    # The number of a pixel's image and class, so that one pass counts the pixels of all.
    guess, target = ((image * classes + pixels)[counted] for pixels in (predicted, truth))
    guessed, true, both = (
        torch.bincount(numbers, minlength=len(truth) * classes).view(-1, classes).cpu().numpy()
        for numbers in (guess, target, target[guess == target])
    )
    return both, guessed + true - both


def mean_iou(intersection: NDArray[np.int64], union: NDArray[np.int64]) -> float:
    """Return the mean over present classes of intersection over union, taken over all images.

    intersection, union: (n, C), from `overlaps`
    """
    both, either = intersection.sum(axis=0), union.sum(axis=0)
    return float((both[either > 0] / either[either > 0]).mean())


def mean_iou_interval(
    intersection: NDArray[np.int64], union: NDArray[np.int64], *, seed: int, resamples: int = 1000
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of `mean_iou` over images."""
    images = len(union)
    times = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    both, either = times @ intersection, times @ union
    shares = np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0)
    low, high = np.percentile(np.nanmean(shares, axis=1), [2.5, 97.5])
    return float(low), float(high)
