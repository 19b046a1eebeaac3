"""Linear probe on augmented images, the published protocol.

The frozen encoder sees a new random crop of every image in every epoch, so features cannot be cached. Each
pass trains a grid of heads: every learning rate, on the class token and on the mean patch token, each with
and without a batch norm without learnt scale. Training images that no head is trained on choose head and
rate.
Source: Chen et al. 2021 (MoCo v3), §5: SGD with momentum 0.9 and no weight decay, 90 epochs, batches of 4096,
a sweep over learning rates, random resized crops and flips. He et al. 2022 (MAE), App. A.1 "Linear probing":
the batch norm. Departures: SGD instead of MAE's LARS, which serves batches of 16,384; heads start at zero, as
in `probes.linear`; the reported images choose nothing; held-out images are used whole, without a centre crop.
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
    """Return the protocol in words, as printed beside every number."""
    return (
        "linear head on the frozen encoder, new random crops and flips in each of "
        f"{settings.epochs} epochs; SGD, batch {settings.batch_size}, cosine schedule, "
        f"{len(settings.learning_rates)} learning rates; learning rate, pooling and batch norm (yes or no) "
        f"chosen on {settings.validation_fraction:.0%} of the training set, heads trained on the rest"
    )


class Heads(Task):
    """A frozen encoder with K kinds of linear heads, each at R learning rates, for all label sets.

    kinds: the encoder's poolings (cls, mean), then the same with a batch norm
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
        """Return SGD with one learning rate per head, given relative to the highest one."""
        fastest = max(self.rates)
        groups = [
            {"params": [head], "lr_scale": rate / fastest}
            for head, rate in zip(self.heads, self.rates, strict=True)
        ]
        return torch.optim.SGD(groups, lr=fastest, momentum=0.9)

    def views(
        self, images: Tensor, labels: Tensor, *, scale_min: float, normalize: Normalize, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """Return a random crop of each image, flipped half of the time and normalised, with its labels.

        images: (B, 3, S, S) in [0, 1]; labels: (B, label sets)
        """
        view = random_resized_crop_flip(images, scale_min=scale_min, draws=draws)
        return normalize(view), labels.to(images.device)

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the sum of the losses of all heads; the sum gives each head its own gradient.

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
        """Return the features (B, poolings, D) of normalised images (B, 3, S, S), without a gradient."""
        return torch.stack(list(pooled_features(self.encoder, images).values()), dim=1).float()

    def scores(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return the scores (R, K, B, classes) of all heads, per label set. features: (B, poolings, D)"""
        plain = features.unbind(1)
        normed = [norm(rows) for norm, rows in zip(self.norms, plain, strict=True)]
        inputs = F.pad(torch.stack([*plain, *normed]), (0, 1), value=1.0)  # (K, B, D+1)
        scores = torch.einsum("kbd,rkdc->rkbc", inputs, torch.stack(list(self.heads)))
        return scores.split(self.classes, dim=3)

    @torch.no_grad()
    def predict(self, images: Tensor) -> list[Tensor]:
        """Return the most likely class (R, K, B) of all heads, per label set, in evaluation mode.

        images: (B, 3, S, S), normalised
        """
        self.eval()
        return [scores.argmax(dim=3) for scores in self.scores(self.features(images))]


def choose(
    validation: Tensor, labels: Tensor, *, kinds: Sequence[str], rates: Sequence[float]
) -> tuple[dict[str, int], dict[str, float], dict[str, float]]:
    """Return the best learning rate of each kind of head.

    validation: (R, K, n) predicted; labels: (n,)
    returns:    kind -> index of its rate, the first of equals; kind -> accuracy; the rates, by name
    """
    accuracy = (validation == labels).float().mean(dim=2)  # (R, K)
    places = dict(zip(kinds, accuracy.argmax(dim=0).tolist(), strict=True))
    choice = dict(zip(kinds, accuracy.amax(dim=0).tolist(), strict=True))
    return places, choice, {f"learning_rate_{kind}": rates[place] for kind, place in places.items()}


def chosen_predictions(test: Tensor, places: Mapping[str, int]) -> dict[str, Tensor]:
    """Return the predictions of each kind of head at its best rate: kind -> (n,). test: (R, K, n)"""
    return {kind: test[place, number] for number, (kind, place) in enumerate(places.items())}
