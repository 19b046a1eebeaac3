"""Probe one arm linearly on augmented images: `python -m stages.linear_augmented --arm NAME [--seed N]`.

With --seed, one training goes into the store and no out is written, so that any scheduler can fill the store.
"""

import argparse
from functools import partial

from stages.data.arrays import Manifest, read_manifest
from stages.heads.augmenting import NAME, train_heads
from stages.probes.augmented import protocol
from stages.results.metrics import over_seeds
from stages.study.command import run
from stages.study.fingerprint import code_digest, fingerprint
from stages.study.params import load_params
from stages.study.paths import (
    augmented_dir,
    encoder_digest,
    probe_metrics,
    probe_predictions,
    read_json,
    trained_seeds,
    write_joined,
    write_json,
)
from stages.study.store import Training, collect
from stages.study.study import Study
from stages.training.complete import chosen, complete
from stages.training.devices import circumstances


def main() -> None:
    """Read the command line and probe."""
    parser = argparse.ArgumentParser(prog="python -m stages.linear_augmented", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    parser.add_argument("--seed", type=int, help="train this one alone into the store; the stage collects it")
    words = parser.parse_args()
    run(
        f"{NAME}@{words.arm}" + ("" if words.seed is None else f"-{words.seed}"),
        lambda: linear_augmented(words.arm, seed=words.seed),
        about=begin,
        writes=probe_metrics(NAME, words.arm) if words.seed is None else None,
    )


def begin() -> list[str]:
    """The device and the precision, in words."""
    params = load_params()
    return circumstances(params.runtime, precision=params.linear_augmented.precision)


def linear_augmented(name: str, *, seed: int | None = None) -> str:
    """Train the heads of one arm that the store lacks, and write test accuracy and predictions of all.

    Raises StudyError if a batch is larger than the training set, or if the loss stops being finite.
    """
    params = load_params(stage=NAME, arm=name)
    settings, out = params.linear_augmented, augmented_dir(name, 0).parent
    trainings = head_trainings(params, name, manifest=read_manifest())
    first = complete(
        chosen(trainings, seed),
        out=out,
        runtime=params.runtime,
        precision=settings.precision,
        train=partial(train_heads, params, name),
    )
    if not first:
        return ""
    if seed is not None:
        return f"{trainings[seed].result}"
    collect(trainings, out)
    folders = {seed: augmented_dir(name, seed) for seed in trainings}
    metrics = over_seeds({seed: read_json(folder / "metrics.json") for seed, folder in folders.items()})
    write_joined(probe_predictions(NAME, name), [folder / "predictions.csv" for folder in folders.values()])
    write_json(probe_metrics(NAME, name), metrics | {"protocol": protocol(settings)})
    return ", ".join(f"{labels} {value['accuracy']:.1%}" for labels, value in metrics["labels"].items())


def head_trainings(params: Study, name: str, *, manifest: Manifest) -> dict[int, Training]:
    """The trainings of heads of one arm by seed, named by all that their numbers depend on."""
    settings = dict(params.linear_augmented)  # those that the stage declares
    code = code_digest("stages.heads.augmenting.train_heads")
    return {
        seed: Training(
            fingerprint(
                encoder=encoder_digest(name, seed),
                settings=settings,
                seed=seed,
                data=manifest.digest,
                code=code,
            )
        )
        for seed in trained_seeds(name)
    }


if __name__ == "__main__":
    main()
