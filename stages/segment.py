"""Segment held-out images with one arm: `python -m stages.segment --arm NAME [--seed N]`.

With --seed, one training goes into the store and no out is written, so that any scheduler can fill the store.
"""

import argparse
from functools import partial

import pandas as pd

from stages.data.arrays import Manifest, open_split, read_manifest
from stages.heads.segmenting import COLUMNS, train_segmenter
from stages.results.metrics import over_seeds
from stages.study.command import run
from stages.study.fingerprint import code_digest, fingerprint
from stages.study.params import load_params
from stages.study.paths import (
    encoder_digest,
    read_json,
    segmentation_metrics,
    segmentation_table,
    segmenter_dir,
    trained_seeds,
    write_joined,
    write_json,
    write_table,
)
from stages.study.store import Training, collect
from stages.study.study import Study
from stages.training.complete import chosen, complete
from stages.training.devices import circumstances


def main() -> None:
    """Read the command line and segment."""
    parser = argparse.ArgumentParser(prog="python -m stages.segment", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    parser.add_argument("--seed", type=int, help="train this one alone into the store; the stage collects it")
    words = parser.parse_args()
    run(
        f"segment@{words.arm}" + ("" if words.seed is None else f"-{words.seed}"),
        lambda: segment(words.arm, seed=words.seed),
        about=begin,
        writes=segmentation_table(words.arm) if words.seed is None else None,
    )


def begin() -> list[str]:
    """The device and the precision, in words."""
    params = load_params()
    return circumstances(params.runtime, precision=params.finetune.precision)


def segment(name: str, *, seed: int | None = None) -> str:
    """Run the segmentations of one arm that the store lacks, and write all of them. Without masks: empty.

    Raises StudyError if the loss stops being finite.
    """
    params = load_params(stage="segment", arm=name)
    out = segmenter_dir(name, 0).parent
    if open_split("train").masks is None or open_split("test").masks is None:
        reason = "the data set has no object masks"
        collect({}, out)
        write_table(segmentation_table(name), pd.DataFrame(columns=["seed", *COLUMNS]))
        write_json(segmentation_metrics(name), {"why": reason})
        return f"skipped: {reason}"
    trainings = segmentings(params, name, manifest=read_manifest())
    first = complete(
        chosen(trainings, seed),
        out=out,
        runtime=params.runtime,
        precision=params.finetune.precision,
        train=partial(train_segmenter, params, name),
    )
    if not first:
        return ""
    if seed is not None:
        return f"{trainings[seed].result}"
    collect(trainings, out)
    metrics = over_seeds({seed: read_json(segmenter_dir(name, seed) / "metrics.json") for seed in trainings})
    write_joined(segmentation_table(name), [segmenter_dir(name, seed) / "overlaps.csv" for seed in trainings])
    write_json(segmentation_metrics(name), metrics | {"protocol": protocol(params)})
    return ", ".join(f"{way} {numbers['miou']:.1%}" for way, numbers in metrics["ways"].items())


def segmentings(params: Study, name: str, *, manifest: Manifest) -> dict[int, Training]:
    """The segmentations of one arm by seed, named by all that their numbers depend on."""
    settings = {
        "finetune": params.finetune.model_dump(exclude_none=True) | {"peak_lr": params.finetune.peak_lr},
        "segmentation": params.segmentation.model_dump(exclude_none=True),
        "evaluation": params.seed,
        "data": manifest.digest,
        "code": code_digest("stages.heads.segmenting.train_segmenter"),
    }
    return {
        seed: Training(fingerprint(encoder=encoder_digest(name, seed), seed=seed, **settings))
        for seed in trained_seeds(name)
    }


def protocol(params: Study) -> str:
    """The protocol in words, to stand beside every number."""
    settings = params.segmentation
    return (
        f"{settings.train_images} training images; linear: one layer on frozen patch tokens, SGD "
        f"{settings.epochs} epochs; knn: {settings.k} nearest of {settings.bank} patches; fine-tuned: all "
        f"weights from there, {settings.finetune_epochs} epochs, AdamW lr {params.finetune.lr:g}, flips; "
        "scores of patches interpolated to pixels"
    )


if __name__ == "__main__":
    main()
