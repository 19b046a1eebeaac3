"""Classify images with an encoder and one linear layer on its pooled tokens, fine-tuned together."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timm.data.mixup import Mixup, mixup_target
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.data.arrays import Manifest, Split, batches, in_order, normalize, unit_range
from stages.data.augment import random_resized_crop_flip
from stages.encoders.architecture import Architecture
from stages.encoders.vit import save_encoder
from stages.study.paths import read_json
from stages.study.seeds import Draws
from stages.training.settings import Finetune, Pooling
from stages.training.task import Task


class Classifier(Task):
    """An encoder with one linear layer on its mean patch token or class token, for all label sets.

    Mixup and label smoothing need a single target. Several label sets (shape and texture) are therefore
    combined into one classification of all combinations. The target of each set is the sum over the other
    sets, which is exact, because mixup and label smoothing are linear in the targets.
    """

    def __init__(
        self,
        encoder: VisionTransformer,
        *,
        classes: list[int],
        settings: Finetune,
        manifest: Manifest,
        seed: int,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        encoder.reset_classifier(sum(classes), global_pool="avg" if pooling == "mean" else "token")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder.head = nn.Linear(encoder.embed_dim, sum(classes))
            nn.init.trunc_normal_(encoder.head.weight, std=0.02)
            nn.init.zeros_(encoder.head.bias)
        self.encoder = encoder
        self.classes = classes
        self.pooling = pooling
        self.settings = settings
        self.manifest = manifest
        self.mixup = None
        if settings.mixup or settings.cutmix:
            self.mixup = Mixup(
                mixup_alpha=settings.mixup,
                cutmix_alpha=settings.cutmix,
                label_smoothing=settings.label_smoothing,
                num_classes=int(np.prod(classes)),
            )

    def views(self, images: Tensor, joint: Tensor, *, draws: Draws) -> tuple[Tensor, Tensor]:
        """Crop, flip, normalise and mix a batch.

        images:  (B, 3, S, S) uint8
        joint:   (B,) class among the combinations of all label sets
        returns: (B, 3, S, S) and soft targets (B, sum of classes)
        """
        images = random_resized_crop_flip(
            unit_range(images), scale_min=self.settings.crop_scale_min, draws=draws
        )
        images = normalize(images, mean=self.manifest.mean, std=self.manifest.std)
        joint = joint.to(images.device)
        combinations = int(np.prod(self.classes))
        if self.mixup is None:
            soft = mixup_target(joint, combinations, lam=1.0, smoothing=self.settings.label_smoothing)
        else:
            # timm draws from NumPy's global generator.
            np.random.seed(draws.seed())
            even = len(images) // 2 * 2
            images, soft = self.mixup(images[:even], joint[:even])
        return images, self.marginals(soft.float())

    def marginals(self, soft: Tensor) -> Tensor:
        """Convert targets of combinations (B, product of classes) to those of label sets (B, sum of classes).

        The targets of each label set sum to 1.
        """
        soft = soft.reshape(len(soft), *self.classes)
        axes = range(1, len(self.classes) + 1)
        return torch.cat(
            [
                soft.sum(dim=[a for a in axes if a != axis]) if len(self.classes) > 1 else soft
                for axis in axes
            ],
            dim=1,
        )

    def forward(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the soft cross-entropy and the accuracy, averaged over label sets.

        The accuracy refers to the class with the largest target: for mixed images, the larger image's class.
        """
        logits = self.encoder(images).float()
        sets = list(zip(logits.split(self.classes, dim=1), targets.split(self.classes, dim=1), strict=True))
        losses = [-(target * scores.log_softmax(dim=1)).sum(dim=1).mean() for scores, target in sets]
        right = [(scores.argmax(dim=1) == target.argmax(dim=1)).float().mean() for scores, target in sets]
        return {"loss": torch.stack(losses).mean(), "accuracy": torch.stack(right).mean()}


def joint_labels(split: Split, manifest: Manifest) -> Tensor:
    """Return the class (n,) of each image among the combinations of all label sets."""
    classes = tuple(len(names) for names in manifest.labels.values())
    labels = tuple(np.asarray(split.labels[name]) for name in manifest.labels)
    return torch.from_numpy(np.ravel_multi_index(labels, classes))


def save_classifier(directory: Path, task: Classifier, *, source: Path) -> None:
    """Write the fine-tuned encoder, in the format of models/, and its head.

    source: folder of the pre-trained encoder
    """
    head = {name: value.detach().cpu().contiguous() for name, value in task.encoder.head.state_dict().items()}
    save_file(head, directory / "head.safetensors", metadata={"pooling": task.pooling})
    about = read_json(source / "encoder.json")
    vit, image_size = Architecture.model_validate(about.pop("vit")), about.pop("image_size")
    task.encoder.reset_classifier(0, global_pool="avg" if vit.pooled_norm else "")
    save_encoder(directory, task.encoder, vit=vit, image_size=image_size, about=about)


@torch.no_grad()
def predict(
    task: Classifier,
    split: Split,
    images: np.ndarray,
    manifest: Manifest,
    *,
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """Return logits (n, sum of classes) of some images of a split, in float32. images: (n,) indices"""
    task.to(device).eval()
    return torch.cat(
        [
            task.encoder(normalize(unit_range(batch.to(device)), mean=manifest.mean, std=manifest.std)).cpu()
            for batch in batches(split.images, in_order(images, batch_size=batch_size))
        ]
    )
