"""Fine-tune one arm end to end: `python -m stages.finetune --arm NAME`."""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.auto_augment import rand_augment_transform
from timm.data.mixup import Mixup, mixup_target
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.data.arrays import Manifest, Split, batches, in_order, normalize, open_split, read_manifest
from stages.data.augment import random_resized_crop_flip
from stages.encoders.vit import Architecture, as_trained, load_encoder, save_encoder
from stages.probes.accuracy import prediction_table, summarize
from stages.study.command import run
from stages.study.fingerprint import fingerprint, training_code
from stages.study.params import load_params
from stages.study.paths import (
    file_digest,
    finetune_dir,
    finetune_metrics,
    model_dir,
    read_json,
    write_json,
    writing,
)
from stages.study.schema import Finetune
from stages.study.seeds import Draws, derive
from stages.training.checkpoints import Checkpoints
from stages.training.devices import circumstances, fit_to_device, make_fabric
from stages.training.loop import train
from stages.training.task import Task


def main() -> None:
    """Read the command line and fine-tune."""
    parser = argparse.ArgumentParser(prog="python -m stages.finetune", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    name = parser.parse_args().arm
    run(
        f"finetune@{name}",
        lambda: finetune(name),
        about=lambda: circumstances(load_params().runtime),
        writes=finetune_dir(name),
    )


def finetune(name: str) -> str:
    """Train the encoder of one arm with a linear head for each label set, and write test accuracy.

    Raises StudyError if the loss stops being finite.
    """
    params = load_params(stage="finetune", arm=name)
    settings, manifest = params.finetune, as_trained(model_dir(name), read_manifest())
    train_split, test_split = open_split("train"), open_split("test")
    fabric = make_fabric(params.runtime)
    classes = [len(names) for names in manifest.labels.values()]
    # Of the arm, so that replicates differ in their fine-tuning as well.
    seed = derive(read_json(model_dir(name) / "encoder.json")["seed"], "finetune")
    task = Classifier(
        load_encoder(model_dir(name), drop_path=settings.drop_path),
        classes=classes,
        settings=settings,
        manifest=manifest,
        seed=derive(seed, "head"),
    )
    fit_to_device(task, runtime=params.runtime, fabric=fabric)
    targets = joint_labels(train_split, manifest)
    history = train(
        task,
        inputs=lambda images, indices, draws: task.views(images, targets[indices], draws=draws),
        batches=lambda epoch, order: randaugmented(
            batches(train_split.images, order, workers=params.runtime.workers),
            order=order,
            policy=settings.randaugment,
            manifest=manifest,
            seed=derive(seed, "randaugment", epoch),
        ),
        images=len(train_split.images),
        recipe=settings,
        betas=(0.9, 0.999),
        layer_decay=settings.layer_decay,
        seed=seed,
        fabric=fabric,
        checkpoints=Checkpoints(
            f"finetune-{name}",
            fingerprint(
                encoder=file_digest(model_dir(name) / "encoder.safetensors"),
                settings=settings.model_dump(),
                seed=seed,
                data=manifest.digest,
                code=training_code("stages.finetune"),
            ),
        ),
    )
    if not fabric.is_global_zero:
        return ""
    logits = predict(
        task, test_split, manifest, batch_size=params.runtime.eval_batch_size, device=fabric.device
    )
    metrics, tables = {}, []
    for labels, scores in zip(manifest.labels, logits.split(classes, dim=1), strict=True):
        predicted, truth = scores.argmax(dim=1).numpy(), test_split.labels[labels]
        metrics[labels] = summarize(predicted, truth, classes=scores.shape[1])
        tables.append(prediction_table(predicted, truth, labels=labels, pooling="mean"))
    with writing(finetune_dir(name)) as temporary:
        temporary.mkdir()
        pd.concat(tables).to_csv(temporary / "predictions.csv", index=False, lineterminator="\n")
        table = pd.DataFrame(history).astype({"epoch": int})
        table.to_csv(temporary / "history.csv", index=False, float_format="%.6g", lineterminator="\n")
        save_classifier(temporary, task, source=model_dir(name))
    write_json(finetune_metrics(name), {"labels": metrics, "protocol": protocol(settings)})
    return ", ".join(f"{labels} {value['accuracy']:.1%}" for labels, value in metrics.items())


def save_classifier(directory: Path, task: "Classifier", *, source: Path) -> None:
    """Write the fine-tuned encoder, in the form of models/, and its head.

    source: directory of the encoder that was fine-tuned
    """
    head = {name: value.detach().cpu().contiguous() for name, value in task.encoder.head.state_dict().items()}
    save_file(head, directory / "head.safetensors")
    about = read_json(source / "encoder.json")
    vit, image_size = Architecture.model_validate(about.pop("vit")), about.pop("image_size")
    task.encoder.reset_classifier(0, global_pool="avg" if vit.pooled_norm else "")
    save_encoder(directory, task.encoder, vit=vit, image_size=image_size, about=about)


def protocol(settings: Finetune) -> str:
    """The protocol in words, to stand beside every number."""
    return (
        f"all weights, {settings.epochs} epochs, AdamW lr {settings.lr:g}, "
        f"layer decay {settings.layer_decay:g}, "
        f"mixup {settings.mixup:g}, cutmix {settings.cutmix:g}, {settings.randaugment}, "
        f"drop path {settings.drop_path:g}, mean-pooled patch tokens, last epoch"
    )


class Classifier(Task):
    """An encoder with one linear layer on its mean patch token, for all label sets at once.

    Several label sets of the same images (shape and texture) are trained as one problem over their
    combinations, because mixup and label smoothing need one target; the combination's target is then summed
    over the other sets, which is exact: both act linearly on targets.
    """

    def __init__(
        self,
        encoder: VisionTransformer,
        *,
        classes: list[int],
        settings: Finetune,
        manifest: Manifest,
        seed: int,
    ) -> None:
        super().__init__()
        encoder.reset_classifier(sum(classes), global_pool="avg")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder.head = nn.Linear(encoder.embed_dim, sum(classes))
            nn.init.trunc_normal_(encoder.head.weight, std=0.02)
            nn.init.zeros_(encoder.head.bias)
        self.encoder = encoder
        self.classes = classes
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

        images: (B, 3, S, S) uint8; joint: (B,) class among the combinations of all label sets
        returns: (B, 3, S, S) and soft targets (B, sum of classes)
        """
        images = random_resized_crop_flip(
            images.float() / 255, scale_min=self.settings.crop_scale_min, draws=draws
        )
        images = normalize(255 * images, mean=self.manifest.mean, std=self.manifest.std)
        joint = joint.to(images.device)
        combinations = int(np.prod(self.classes))
        if self.mixup is None:
            soft = mixup_target(joint, combinations, lam=1.0, smoothing=self.settings.label_smoothing)
        else:
            # timm draws from numpy's global generator
            np.random.seed(draws.seed())
            even = len(images) // 2 * 2
            images, soft = self.mixup(images[:even], joint[:even])
        return images, self.marginals(soft.float())

    def marginals(self, soft: Tensor) -> Tensor:
        """(B, product of classes) targets of combinations to (B, sum of classes), each set summing to 1."""
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
        """Soft cross-entropy, averaged over label sets."""
        logits = self.encoder(images).float()
        losses = [
            -(target * scores.log_softmax(dim=1)).sum(dim=1).mean()
            for scores, target in zip(
                logits.split(self.classes, dim=1), targets.split(self.classes, dim=1), strict=True
            )
        ]
        return {"loss": torch.stack(losses).mean()}


def joint_labels(split: Split, manifest: Manifest) -> Tensor:
    """(n,) class of each image among the combinations of all label sets."""
    classes = tuple(len(names) for names in manifest.labels.values())
    labels = tuple(np.asarray(split.labels[name]) for name in manifest.labels)
    return torch.from_numpy(np.ravel_multi_index(labels, classes))


def randaugmented(
    stream: Iterator[Tensor], *, order: list[np.ndarray], policy: str, manifest: Manifest, seed: int
) -> Iterator[Tensor]:
    """Apply timm's RandAugment to every image of a stream of uint8 batches (B, 3, S, S).

    order: the indices (B,) of each batch
    Source: Cubuk et al. 2020, in timm's variant, which the published recipes use.
    """
    fill = tuple(round(255 * value) for value in manifest.mean)
    size = manifest.image_size
    transform = rand_augment_transform(policy, {"translate_const": int(0.45 * size), "img_mean": fill})
    for indices, batch in zip(order, stream, strict=True):
        pictures = []
        for index, image in zip(indices, batch.permute(0, 2, 3, 1).numpy(), strict=True):
            # timm draws from the global generators of Python and numpy
            random.seed(derive(seed, int(index)))
            np.random.seed(derive(seed, int(index)) % 2**32)
            pictures.append(transform(Image.fromarray(image)))
        yield torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)


@torch.no_grad()
def predict(
    task: Classifier, split: Split, manifest: Manifest, *, batch_size: int, device: torch.device
) -> Tensor:
    """Logits of all images of a split, in order, in float32. returns: (n, sum of classes)"""
    task.to(device).eval()
    order = in_order(np.arange(len(split.images)), batch_size=batch_size)
    return torch.cat(
        [
            task.encoder(normalize(batch.to(device), mean=manifest.mean, std=manifest.std)).cpu()
            for batch in batches(split.images, order)
        ]
    )


if __name__ == "__main__":
    main()
