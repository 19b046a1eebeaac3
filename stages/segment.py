"""Segment held-out images with one arm, frozen and fine-tuned: `python -m stages.segment --arm NAME`."""

import argparse
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.data.arrays import Manifest, Split, batches, in_order, normalize, open_split, read_manifest
from stages.data.evaluation import evaluation_subset
from stages.encoders.vit import as_trained, embed, encode, load_encoder
from stages.probes.segmentation import (
    IGNORED,
    LinearHead,
    NearestPatches,
    fit_linear,
    mean_iou,
    mean_iou_interval,
    overlaps,
    patch_classes,
    pixel_classes,
    upsampled,
)
from stages.study.command import run
from stages.study.fingerprint import fingerprint, training_code
from stages.study.params import load_params
from stages.study.paths import (
    features_dir,
    features_name,
    file_digest,
    model_dir,
    read_json,
    segmentation_metrics,
    segmentation_table,
    write_json,
    write_text,
)
from stages.study.schema import Study
from stages.study.seeds import Draws, derive, generator
from stages.training.checkpoints import Checkpoints
from stages.training.devices import circumstances, fit_to_device, make_fabric
from stages.training.loop import train
from stages.training.task import Task

COLUMNS = ["image", "way", "class", "intersection", "union"]


def main() -> None:
    """Read the command line and segment."""
    parser = argparse.ArgumentParser(prog="python -m stages.segment", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    name = parser.parse_args().arm
    run(
        f"segment@{name}",
        lambda: segment(name),
        about=lambda: circumstances(load_params().runtime),
        writes=segmentation_table(name),
    )


def segment(name: str) -> str:
    """Write intersections and unions of a linear head, of nearest patches and of the fine-tuned encoder.

    The classes are no object, and the first label set of the data. Of data without masks the table is empty.
    Raises StudyError if the loss stops being finite.
    """
    params = load_params(stage="segment", arm=name)
    manifest = as_trained(model_dir(name), read_manifest())
    train_split, test_split = open_split("train"), open_split("test")
    labels, names = next(iter(manifest.labels.items()))
    if train_split.masks is None or test_split.masks is None:
        write_text(segmentation_table(name), ",".join(COLUMNS) + "\n")
        write_json(segmentation_metrics(name), {"why": "the data do not know the pixels of their objects"})
        return "not measured: the data do not know the pixels of their objects"
    classes = ["none", *names]
    settings, seed = params.segmentation, params.seed
    tokens, test_tokens = (
        load_file(features_dir(name) / features_name("tokens", split)) for split in ("train", "test")
    )
    drawn = torch.randperm(len(tokens["image"]), generator=generator(seed, "segment"))
    chosen = drawn[: settings.train_images].sort().values
    images = tokens["image"][chosen].numpy()
    measured = np.isin(
        test_tokens["image"].numpy(),
        evaluation_subset(len(test_split.images), settings.test_images, seed=seed),
    )
    test_images = test_tokens["image"].numpy()[measured]
    truth, wanted = (
        targets_of(split, labels, rows) for split, rows in ((test_split, test_images), (train_split, images))
    )
    patches, held_back = tokens["patches"][chosen], test_tokens["patches"][torch.from_numpy(measured)]
    coarse = patch_classes(wanted, grid=round(patches.shape[1] ** 0.5), classes=len(classes))
    head, rate = fit_linear(
        patches,
        coarse,
        classes=len(classes),
        settings=settings,
        generator=generator(seed, "segment", "linear"),
    )
    nearest = NearestPatches(
        patches, coarse, classes=len(classes), settings=settings, generator=generator(seed, "segment", "knn")
    )
    found = {
        way: torch.cat([scores_to_pixels(scores(part), truth) for part in held_back.split(100)])
        for way, scores in (("linear", head), ("knn", nearest))
    }
    found["fine-tuned"] = fine_tuned(
        name, params, manifest, train_split, images, wanted, test_split, test_images, head=head
    )
    if found["fine-tuned"] is None:  # of several processes the first alone has it
        return ""
    tables, metrics = [], {}
    for way, predicted in found.items():
        both, either = overlaps(predicted, truth, classes=len(classes))
        low, high = mean_iou_interval(both, either, seed=derive(seed, "segment", way))
        metrics[way] = {
            "miou": mean_iou(both, either),
            "low": low,
            "high": high,
            "pixel_accuracy": float((predicted == truth)[truth != IGNORED].float().mean()),
            "images": len(truth),
        }
        tables.append(rows(both, either, images=test_images, way=way))
    write_text(segmentation_table(name), pd.concat(tables).to_csv(index=False, lineterminator="\n"))
    told = {"classes": classes, "learning_rate": rate, "protocol": protocol(params)}
    write_json(segmentation_metrics(name), {"ways": metrics} | told)
    return ", ".join(f"{way} {numbers['miou']:.1%}" for way, numbers in metrics.items())


def protocol(params: Study) -> str:
    """The protocol in words, to stand beside every number."""
    settings = params.segmentation
    return (
        f"{settings.train_images} training images; linear: one layer on frozen patch tokens, SGD "
        f"{settings.epochs} epochs; knn: {settings.k} nearest of {settings.bank} patches; fine-tuned: all "
        f"weights from there, {settings.finetune_epochs} epochs, AdamW lr {params.finetune.lr:g}, flips; "
        "scores of patches interpolated to pixels"
    )


def targets_of(split: Split, labels: str, images: NDArray[np.int64]) -> Tensor:
    """The class of every pixel of some images, (n, H, W)."""
    assert split.masks is not None
    return pixel_classes(
        torch.from_numpy(np.asarray(split.masks[images])),
        torch.from_numpy(np.asarray(split.labels[labels][images]).astype(np.int64)),
        None if split.ignored is None else torch.from_numpy(np.asarray(split.ignored[images])),
    )


def scores_to_pixels(scores: Tensor, truth: Tensor) -> Tensor:
    """The most likely class of every pixel. scores: (n, N, C), truth: (any, H, W), returns: (n, H, W)"""
    return upsampled(scores, size=truth.shape[1]).argmax(dim=1)


def rows(
    both: NDArray[np.int64], either: NDArray[np.int64], *, images: NDArray[np.int64], way: str
) -> pd.DataFrame:
    """One row for each image and each class that is in it, or was seen in it."""
    place, name = np.nonzero(either)
    values = (images[place], way, name, both[place, name], either[place, name])
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


class Segmenter(Task):
    """An encoder with one linear layer on every patch token; its loss is the cross-entropy of every pixel.

    It is the mean over the pixels of an image that count, then over images, those without any as 0: so the
    loss of a batch is the mean of the losses of its parts, whatever is ignored where.
    The layer starts as the linear probe has found it: from chance, a short training ends below the probe.
    Source: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features" (LP-FT).
    """

    def __init__(self, encoder: VisionTransformer, head: LinearHead, *, manifest: Manifest) -> None:
        super().__init__()
        self.encoder = encoder
        self.manifest = manifest
        self.head = head.layer()

    def views(self, images: Tensor, targets: Tensor, *, draws: Draws) -> tuple[Tensor, Tensor]:
        """Half of the images flipped with their pixels' classes, normalised. images: (B, 3, S, S) uint8"""
        flip = (draws.uniform() < 0.5)[:, None, None]
        targets = targets.to(images.device)
        images = torch.where(flip[:, None], images.flip(-1), images)
        return (
            normalize(images, mean=self.manifest.mean, std=self.manifest.std),
            torch.where(flip, targets.flip(-1), targets),
        )

    def forward(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The loss. images: (B, 3, S, S), normalised; targets: (B, S, S)"""
        scores = upsampled(self.scores(images).float(), size=targets.shape[-1])
        of_pixels = F.cross_entropy(scores, targets, ignore_index=IGNORED, reduction="none")
        counted = (targets != IGNORED).sum(dim=(1, 2)).clamp(min=1)
        return {"loss": (of_pixels.sum(dim=(1, 2)) / counted).mean()}

    def scores(self, images: Tensor) -> Tensor:
        """Scores of the classes for every patch, (B, N, C)."""
        tokens = encode(self.encoder, embed(self.encoder, images))
        return self.head(tokens[:, self.encoder.num_prefix_tokens :])


def fine_tuned(
    name: str,
    params: Study,
    manifest: Manifest,
    split: Split,
    images: NDArray[np.int64],
    targets: Tensor,
    test_split: Split,
    test_images: NDArray[np.int64],
    *,
    head: LinearHead,
) -> Any:
    """Pixels of test images (n, H, W) as the encoder sees them that was trained on images with these targets.

    images: numbers of the training images; head: on the frozen encoder, to start from
    returns: None in all processes but the first
    """
    recipe = params.finetune.model_copy(update={"epochs": params.segmentation.finetune_epochs})
    fabric = make_fabric(params.runtime)
    seed = derive(read_json(model_dir(name) / "encoder.json")["seed"], "segment")
    encoder = load_encoder(model_dir(name), drop_path=recipe.drop_path)
    task = Segmenter(encoder, head, manifest=manifest)
    fit_to_device(task, runtime=params.runtime, fabric=fabric)
    train(
        task,
        inputs=lambda pictures, places, draws: task.views(pictures, targets[places], draws=draws),
        batches=lambda epoch, order: batches(
            split.images, [images[places] for places in order], workers=params.runtime.workers
        ),
        images=len(images),
        recipe=recipe,
        betas=(0.9, 0.999),
        layer_decay=recipe.layer_decay,
        seed=seed,
        fabric=fabric,
        checkpoints=Checkpoints(
            f"segment-{name}",
            fingerprint(
                encoder=file_digest(model_dir(name) / "encoder.safetensors"),
                settings=recipe.model_dump(),
                segmentation=params.segmentation.model_dump(),
                seed=seed,
                data=manifest.digest,
                code=training_code("stages.segment"),
            ),
        ),
    )
    if not fabric.is_global_zero:
        return None
    return predict(task, test_split, test_images, batch_size=params.runtime.eval_batch_size, like=targets)


@torch.no_grad()
def predict(
    task: Segmenter, split: Split, images: NDArray[np.int64], *, batch_size: int, like: Tensor
) -> Tensor:
    """The most likely class of every pixel of some images, (n, H, W)."""
    device = next(task.parameters()).device
    task.eval()
    order = [images[rows] for rows in in_order(np.arange(len(images)), batch_size=batch_size)]
    manifest = task.manifest
    found = [
        scores_to_pixels(
            task.scores(normalize(batch.to(device), mean=manifest.mean, std=manifest.std)).float(), like
        ).cpu()
        for batch in batches(split.images, order)
    ]
    return torch.cat(found)


if __name__ == "__main__":
    main()
