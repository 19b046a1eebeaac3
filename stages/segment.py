"""Segment held-out images with one arm: `python -m stages.segment --arm NAME [--seed N]`.

With --seed, one training goes into the store and no out is written, so any scheduler can fill the store.
"""

from functools import partial

import pandas as pd

from stages.data.arrays import Manifest, open_split, read_manifest
from stages.heads.segmenting import COLUMNS, train_segmenter
from stages.results.metrics import over_seeds
from stages.study.fingerprint import code_digest
from stages.study.params import load_params
from stages.study.paths import (
    read_json,
    segmentation_metrics,
    segmentation_table,
    segmenter_dir,
    write_joined,
    write_json,
    write_table,
)
from stages.study.store import Training, collect
from stages.study.study import Study
from stages.training.complete import chosen, complete, run_training_stage, trainings_from
from stages.training.devices import circumstances


def main() -> None:
    """Read the command line and segment with the arm."""
    run_training_stage("segment", segment, description=__doc__, about=begin, writes=segmentation_table)


def begin(name: str) -> list[str]:
    """Return device and precision in words, for the line that starts the stage."""
    params = load_params()
    return circumstances(params.runtime, precision=params.finetune.precision)


def segment(name: str, *, seed: int | None = None) -> str:
    """Train the segmenters of one arm that the store lacks, and write all of them.

    Without object masks, the outs are empty.
    Raises StudyError if the loss becomes infinite or NaN.
    """
    params = load_params(stage="segment", arm=name)
    out = segmenter_dir(name, 0).parent
    if open_split("train").masks is None or open_split("test").masks is None:
        reason = "the data set has no object masks"
        if seed is not None:
            return f"skipped: {reason}"
        collect({}, out)
        write_table(segmentation_table(name), pd.DataFrame(columns=["seed", *COLUMNS]))
        write_json(segmentation_metrics(name), {"why": reason})
        return f"skipped: {reason}"
    trainings = segmentings(params, name, manifest=read_manifest())
    ended = complete(
        chosen(trainings, seed),
        alone=seed is not None,
        out=out,
        runtime=params.runtime,
        precision=params.finetune.precision,
        train=partial(train_segmenter, params, name),
    )
    if ended is not None:
        return ended
    collect(trainings, out)
    metrics = over_seeds({seed: read_json(segmenter_dir(name, seed) / "metrics.json") for seed in trainings})
    write_joined(segmentation_table(name), [segmenter_dir(name, seed) / "overlaps.csv" for seed in trainings])
    write_json(segmentation_metrics(name), metrics | {"protocol": protocol(params)})
    return ", ".join(f"{way} {numbers['miou']:.1%}" for way, numbers in metrics["ways"].items())


def segmentings(params: Study, name: str, *, manifest: Manifest) -> dict[int, Training]:
    """Return the segmentations of one arm by seed, each with its fingerprint."""
    recipe = params.finetune  # only the keys that dvc.yaml declares for the stage
    return trainings_from(
        name,
        finetune={key: value for key, value in recipe if value is not None} | {"peak_lr": recipe.peak_lr},
        segmentation=params.segmentation.model_dump(exclude_none=True),
        evaluation=params.seed,
        tokens=params.features.token_images,  # frozen ways read the features of so many images
        data=manifest.arrays,
        code=code_digest("stages.heads.segmenting.train_segmenter"),
    )


def protocol(params: Study) -> str:
    """Return the protocol in words, as printed beside every number."""
    settings = params.segmentation
    return (
        f"{settings.train_images} training images; linear: one layer on frozen patch tokens, SGD, "
        f"{settings.epochs} epochs; knn: {settings.k} nearest of {settings.bank} patches; fine-tuned: all "
        f"weights, starting from the linear layer, {settings.finetune_epochs} epochs, AdamW, learning rate "
        f"{params.finetune.lr:g}, flips; patch scores interpolated to pixels"
    )


if __name__ == "__main__":
    main()
