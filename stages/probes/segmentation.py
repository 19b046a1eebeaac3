"""Which pixels are of which class, told from patch tokens: targets, heads and the score, mIoU.

All heads give scores for every patch, which are interpolated to pixels: what differs between arms is the
tokens.
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

IGNORED = -100  # the class of what is not counted, as cross_entropy has it


def pixel_classes(masks: Tensor, labels: Tensor, ignored: Tensor | None = None) -> Tensor:
    """The class of every pixel: 0 where there is no object, else 1 more than the label of its image.

    masks, ignored: bool (n, H, W); labels: (n,); what is ignored is IGNORED
    """
    classes = masks.long() * (labels + 1)[:, None, None]
    return classes if ignored is None else classes.masked_fill(ignored, IGNORED)


def patch_classes(pixels: Tensor, *, grid: int, classes: int) -> Tensor:
    """The most frequent class of every patch, the lowest of equally frequent ones; IGNORED if all of it is.

    pixels:  (n, H, W), H a multiple of the grid
    returns: (n, grid²), row by row
    """
    side = pixels.shape[1] // grid
    parts = pixels.unflatten(1, (grid, side)).unflatten(3, (grid, side))  # (n, g, s, g, s)
    parts = parts.permute(0, 1, 3, 2, 4).flatten(3)
    counts = torch.stack([(parts == name).sum(dim=-1) for name in range(classes)], dim=-1)
    return torch.where(counts.sum(dim=-1) > 0, counts.argmax(dim=-1), IGNORED).flatten(1)


def upsampled(scores: Tensor, *, size: int) -> Tensor:
    """Scores of patches as scores of pixels, linearly in between.

    scores: (n, N, C), N = g·g; returns: (n, C, size, size)
    """
    grid = round(scores.shape[1] ** 0.5)
    maps = scores.transpose(1, 2).unflatten(2, (grid, grid))
    return F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)


def fit_linear(
    tokens: Tensor, targets: Tensor, *, classes: int, settings: Segmentation, generator: Generator
) -> tuple[linear.LinearHead, float]:
    """A linear head on standardised tokens, its learning rate chosen on held-out training images.

    tokens: (n, N, D); targets: (n, N), classes of the patches, of which the IGNORED are left out
    returns: the head and its learning rate
    """
    held, fitting = linear.held_out(len(tokens), share=settings.validation_fraction, generator=generator)
    seen, names = _counted(tokens, targets, images=fitting)
    mean, std = seen.mean(dim=0), seen.std(dim=0).clamp(min=1e-6)
    weights = linear.train_heads(
        (seen - mean) / std,
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
    """Tokens (m, D) of the patches of some images, and their classes (m,), without what is IGNORED."""
    names = targets[images.to(targets.device)].flatten()
    seen = tokens[images.to(tokens.device)].flatten(0, 1)[(names != IGNORED).to(tokens.device)]
    return seen.float(), names[names != IGNORED]


class NearestPatches:
    """Votes of the nearest training patches for every token."""

    def __init__(
        self, tokens: Tensor, targets: Tensor, *, classes: int, settings: Segmentation, generator: Generator
    ) -> None:
        """tokens: (n, N, D), targets: (n, N); of them `bank` patches are drawn, none that is IGNORED."""
        drawn = torch.randperm(targets.numel(), generator=generator)
        drawn = drawn[(targets.flatten()[drawn.to(targets.device)] != IGNORED).cpu()]
        drawn = drawn[: settings.bank].to(tokens.device)
        self.bank, self.names = tokens.flatten(0, 1)[drawn].float(), targets.flatten()[drawn]
        self.classes, self.settings = classes, settings

    def __call__(self, tokens: Tensor) -> Tensor:
        """tokens: (n, N, D), returns: (n, N, C), shares of the votes"""
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
    """Intersection and union of each class in each image, in pixels, of those that are not IGNORED in truth.

    predicted, truth: (n, H, W); returns: (n, C) each
    """
    counted = (truth != IGNORED)[..., None]
    found, real = (
        (F.one_hot(pixels.clamp(min=0), classes).bool() & counted).flatten(1, 2)
        for pixels in (predicted, truth)
    )
    return (found & real).sum(dim=1).cpu().numpy(), (found | real).sum(dim=1).cpu().numpy()


def mean_iou(intersection: NDArray[np.int64], union: NDArray[np.int64]) -> float:
    """Intersection over union of each class over all images, mean over the classes that are there.

    intersection, union: (n, C), from `overlaps`
    """
    both, either = intersection.sum(axis=0), union.sum(axis=0)
    return float((both[either > 0] / either[either > 0]).mean())


def mean_iou_interval(
    intersection: NDArray[np.int64], union: NDArray[np.int64], *, seed: int, resamples: int = 1000
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of `mean_iou` over images."""
    images = len(union)
    times = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    both, either = times @ intersection, times @ union
    shares = np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0)
    low, high = np.percentile(np.nanmean(shares, axis=1), [2.5, 97.5])
    return float(low), float(high)
