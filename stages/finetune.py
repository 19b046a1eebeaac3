"""Fine-tune the encoders of one arm end to end: `python -m stages.finetune --arm NAME [--seed N]`.

With --seed, one training goes into the store and no out is written, so that any scheduler can fill the store.
"""

import argparse
from functools import partial

from stages.data.arrays import Manifest, read_manifest
from stages.heads.finetuning import train_classifier
from stages.results.metrics import over_seeds
from stages.study.command import run
from stages.study.fingerprint import code_digest, fingerprint
from stages.study.params import load_params
from stages.study.paths import (
    encoder_digest,
    finetune_dir,
    finetune_metrics,
    read_json,
    trained_seeds,
    write_json,
)
from stages.study.store import Training, collect
from stages.study.study import Study
from stages.training.complete import chosen, complete
from stages.training.devices import circumstances
from stages.training.settings import Finetune


def main() -> None:
    """Read the command line and fine-tune."""
    parser = argparse.ArgumentParser(prog="python -m stages.finetune", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    parser.add_argument("--seed", type=int, help="train this one alone into the store; the stage collects it")
    words = parser.parse_args()
    run(
        f"finetune@{words.arm}" + ("" if words.seed is None else f"-{words.seed}"),
        lambda: finetune(words.arm, seed=words.seed),
        about=begin,
        writes=finetune_dir(words.arm, 0).parent if words.seed is None else None,
    )


def begin() -> list[str]:
    """The device and the precision, in words."""
    params = load_params()
    return circumstances(params.runtime, precision=params.finetune.precision)


def finetune(name: str, *, seed: int | None = None) -> str:
    """Train the classifiers of one arm that the store lacks, and write all of them with their test accuracy.

    Raises StudyError if the loss stops being finite.
    """
    params = load_params(stage="finetune", arm=name)
    trainings = finetunings(params, name, manifest=read_manifest())
    out = finetune_dir(name, 0).parent
    first = complete(
        chosen(trainings, seed),
        out=out,
        runtime=params.runtime,
        precision=params.finetune.precision,
        train=partial(train_classifier, params, name),
    )
    if not first:
        return ""
    if seed is not None:
        return f"{trainings[seed].result}"
    collect(trainings, out)
    metrics = over_seeds({seed: read_json(finetune_dir(name, seed) / "metrics.json") for seed in trainings})
    write_json(finetune_metrics(name), metrics | {"protocol": protocol(params.finetune)})
    return ", ".join(f"{labels} {value['accuracy']:.1%}" for labels, value in metrics["labels"].items())


def finetunings(params: Study, name: str, *, manifest: Manifest) -> dict[int, Training]:
    """The fine-tunings of one arm by seed, named by all that their numbers depend on."""
    settings = params.finetune.model_dump(exclude_none=True) | {"peak_lr": params.finetune.peak_lr}
    code = code_digest("stages.heads.finetuning.train_classifier")
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


def protocol(settings: Finetune) -> str:
    """The protocol in words, to stand beside every number."""
    return (
        f"all weights, {settings.epochs} epochs, AdamW lr {settings.lr:g}, "
        f"layer decay {settings.layer_decay:g}, "
        f"mixup {settings.mixup:g}, cutmix {settings.cutmix:g}, {settings.randaugment}, "
        f"drop path {settings.drop_path:g}, mean-pooled patch tokens, last epoch"
    )


if __name__ == "__main__":
    main()
