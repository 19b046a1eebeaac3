"""Train a linear probe of one arm on augmented images: `python -m stages.linear_augmented --arm NAME`.

With --seed N, one training goes into the store and no out is written, so any scheduler can fill the store.
"""

from functools import partial

from stages.data.arrays import Manifest, read_manifest
from stages.heads.augmenting import NAME, train_heads
from stages.probes.augmented import protocol
from stages.results.metrics import over_seeds
from stages.study.fingerprint import code_digest
from stages.study.params import load_params
from stages.study.paths import (
    augmented_dir,
    probe_metrics,
    probe_predictions,
    read_json,
    write_joined,
    write_json,
)
from stages.study.store import Training, collect
from stages.study.study import Study
from stages.training.complete import chosen, complete, run_training_stage, trainings_from
from stages.training.devices import circumstances


def main() -> None:
    """Read the command line and probe the arm."""
    run_training_stage(
        NAME,
        linear_augmented,
        description=__doc__,
        about=begin,
        writes=lambda name: probe_metrics(NAME, name),
    )


def begin(name: str) -> list[str]:
    """Return device and precision in words, for the line that starts the stage."""
    params = load_params()
    return circumstances(params.runtime, precision=params.linear_augmented.precision)


def linear_augmented(name: str, *, seed: int | None = None) -> str:
    """Train the heads of one arm that the store lacks, and write test accuracies and predictions of all.

    Raises StudyError if a batch exceeds the training set, or if the loss becomes infinite or NaN.
    """
    params = load_params(stage=NAME, arm=name)
    settings, out = params.linear_augmented, augmented_dir(name, 0).parent
    trainings = head_trainings(params, name, manifest=read_manifest())
    ended = complete(
        chosen(trainings, seed),
        alone=seed is not None,
        out=out,
        runtime=params.runtime,
        precision=settings.precision,
        train=partial(train_heads, params, name),
    )
    if ended is not None:
        return ended
    collect(trainings, out)
    folders = {seed: augmented_dir(name, seed) for seed in trainings}
    metrics = over_seeds({seed: read_json(folder / "metrics.json") for seed, folder in folders.items()})
    write_joined(probe_predictions(NAME, name), [folder / "predictions.csv" for folder in folders.values()])
    write_json(probe_metrics(NAME, name), metrics | {"protocol": protocol(settings)})
    return ", ".join(f"{labels} {value['accuracy']:.1%}" for labels, value in metrics["labels"].items())


def head_trainings(params: Study, name: str, *, manifest: Manifest) -> dict[int, Training]:
    """Return the trainings of the heads of one arm by seed, each with its fingerprint."""
    return trainings_from(
        name,
        settings=dict(params.linear_augmented),  # only the keys that dvc.yaml declares for the stage
        data=manifest.content("train", "test", labels=True),
        code=code_digest("stages.heads.augmenting.train_heads"),
    )


if __name__ == "__main__":
    main()
