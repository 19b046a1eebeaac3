"""Linear probe of augmented images, the protocol by which the published methods are probed.

The frozen encoder sees another random crop of every image in every epoch, so no feature can be cached. On
each of its passes a grid of heads is trained at once: every learning rate, on the class token and on the mean
patch token, as they are and through a batch norm without learned scale. Head and rate are chosen on a part of
the training images that no head was trained on.
Source: Chen et al. 2021 (MoCo v3), §5, for SGD with momentum 0.9 and no weight decay, 90 epochs, batches of
4096, a sweep over learning rates, random resized crops and flips; He et al. 2022 (MAE), App. A.1 "Linear
probing", for the batch norm. Departures: SGD in place of MAE's LARS, which is for batches of 16,384; heads
start at zero, as in `probes.linear`; nothing is chosen on the images that are reported; held-out images are
seen whole, where the publications cut their centre.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.data.augment import Normalize, random_resized_crop_flip
from stages.encoders.vit import pooled_features
from stages.study.seeds import Draws
from stages.training.settings import LinearAugmented
from stages.training.task import Task

VARIES = "head"


def protocol(settings: LinearAugmented) -> str:
    """The protocol in words, to stand beside every number."""
    return (
        f"linear head on the frozen encoder, images cropped and flipped anew in each of {settings.epochs} "
        f"epochs, SGD, batch {settings.batch_size}, cosine, {len(settings.learning_rates)} learning rates; "
        "learning rate, pooling and whether features pass a batch norm chosen on "
        f"{settings.validation_fraction:.0%} of the training set, heads trained on the rest"
    )


class Heads(Task):
    """A frozen encoder with K kinds of linear heads, and R learning rates for each, for all label sets.

    kinds: cls and mean, the poolings that the encoder has, then the same with a batch norm
    heads: R tensors (K, D+1, sum of classes), the bias in the last row
    """

    separable = False  # the batch norm compares the images of a batch

    def __init__(self, encoder: VisionTransformer, *, classes: Sequence[int], rates: Sequence[float]) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.classes = list(classes)
        self.rates = list(rates)
        poolings = ["cls", "mean"] if encoder.has_class_token else ["mean"]
        self.kinds = [*poolings, *(f"{pooling}-batchnorm" for pooling in poolings)]
        width = encoder.embed_dim
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, eps=1e-6, affine=False) for _ in poolings)
        self.heads = nn.ParameterList(
            torch.zeros(len(self.kinds), width + 1, sum(self.classes)) for _ in self.rates
        )

    def optimizer(self) -> torch.optim.SGD:
        """SGD that moves each head at a rate of its own, in proportion to the fastest."""
        fastest = max(self.rates)
        groups = [
            {"params": [head], "lr_scale": rate / fastest}
            for head, rate in zip(self.heads, self.rates, strict=True)
        ]
        return torch.optim.SGD(groups, lr=fastest, momentum=0.9)

    def views(
        self, images: Tensor, labels: Tensor, *, scale_min: float, normalize: Normalize, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """A random crop of each image, mirrored half of the time, normalised, and its labels.

        images: (B, 3, S, S) in [0, 1]; labels: (B, label sets)
        """
        view = random_resized_crop_flip(images, scale_min=scale_min, draws=draws)
        return normalize(view), labels.to(images.device)

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The sum of the losses of all heads, so that each has the gradient that it would have alone.

        images: (B, 3, S, S), normalised; labels: (B, label sets)
        """
        features = self.gather(self.in_parts(self.features, images))
        labels = self.gather(labels)
        with torch.autocast(images.device.type, enabled=False):
            scores = self.scores(features)
            losses = [
                F.cross_entropy(part.flatten(0, 2), target.repeat(part.shape[:2].numel()))
                * part.shape[:2].numel()
                for part, target in zip(scores, labels.unbind(1), strict=True)
            ]
        return {"loss": torch.stack(losses).sum()}

    def features(self, images: Tensor) -> Tensor:
        """What the heads see of images (B, 3, S, S), normalised: (B, poolings, D), without a gradient."""
        return torch.stack(list(pooled_features(self.encoder, images).values()), dim=1).float()

    def scores(self, features: Tensor) -> tuple[Tensor, ...]:
        """The scores (R, K, B, classes) by all heads, for each label set. features: (B, poolings, D)"""
        plain = features.unbind(1)
        normed = [norm(rows) for norm, rows in zip(self.norms, plain, strict=True)]
        seen = F.pad(torch.stack([*plain, *normed]), (0, 1), value=1.0)  # (K, B, D+1)
        scores = torch.einsum("kbd,rkdc->rkbc", seen, torch.stack(list(self.heads)))
        return scores.split(self.classes, dim=3)

    @torch.no_grad()
    def predict(self, images: Tensor) -> list[Tensor]:
        """The most likely class (R, K, B) by all heads, for each label set, in evaluation mode.

        images: (B, 3, S, S), normalised
        """
        self.eval()
        return [scores.argmax(dim=3) for scores in self.scores(self.features(images))]


def choose(
    validation: Tensor, labels: Tensor, *, kinds: Sequence[str], rates: Sequence[float]
) -> tuple[dict[str, int], dict[str, float], dict[str, float]]:
    """The best learning rate of each kind of head.

    validation: (R, K, n) predicted; labels: (n,)
    returns:    kind -> place among the rates, the first of equals; kind -> its accuracy; what was chosen
    """
    accuracy = (validation == labels).float().mean(dim=2)  # (R, K)
    places = dict(zip(kinds, accuracy.argmax(dim=0).tolist(), strict=True))
    choice = dict(zip(kinds, accuracy.amax(dim=0).tolist(), strict=True))
    return places, choice, {f"learning_rate_{kind}": rates[place] for kind, place in places.items()}


def chosen_predictions(test: Tensor, places: Mapping[str, int]) -> dict[str, Tensor]:
    """What each kind of head predicts at its own learning rate: kind -> (n,). test: (R, K, n)"""
    return {kind: test[place, number] for number, (kind, place) in enumerate(places.items())}
