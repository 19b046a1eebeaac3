"""Fine-tune the encoders of one arm end to end: `python -m stages.finetune --arm NAME [--seed N]`.

If `finetune.poolings` names two poolings, each encoder is fine-tuned with both, and validation images choose
the pooling of the arm. With --seed, one training goes into the store and no out is written, so any scheduler
can fill the store.
"""

from functools import partial

from lightning_fabric import Fabric

from stages.data.arrays import Manifest, read_manifest
from stages.heads.finetuning import train_classifier
from stages.heads.variants import Variant, best_pooling, protocol
from stages.results.metrics import over_seeds
from stages.study.fingerprint import code_digest
from stages.study.params import load_params
from stages.study.paths import finetune_dir, finetune_metrics, read_json, write_json
from stages.study.store import Training, collect
from stages.study.study import Study
from stages.training.complete import chosen, complete, run_training_stage, trainings_from
from stages.training.devices import circumstances


def main() -> None:
    """Read the command line and fine-tune the arm."""
    run_training_stage(
        "finetune",
        finetune,
        description=__doc__,
        about=begin,
        writes=lambda name: finetune_dir(name, 0).parent,
    )


def begin(name: str) -> list[str]:
    """Return device and precision in words, for the line that starts the stage."""
    params = load_params()
    return circumstances(params.runtime, precision=params.finetune.precision)


def finetune(name: str, *, seed: int | None = None) -> str:
    """Train the classifiers of one arm that the store lacks, and write all with their test accuracy.

    Raises StudyError if the loss becomes infinite or NaN, or if the pooling needs a class token that an
    encoder does not have.
    """
    params = load_params(stage="finetune", arm=name)
    trainings = finetunings(params, name, manifest=read_manifest())
    out = finetune_dir(name, 0).parent
    seeds = chosen({key.seed: training for key, training in trainings.items()}, seed)
    ended = complete(
        {key: training for key, training in trainings.items() if key.seed in seeds},
        alone=seed is not None,
        out=out,
        runtime=params.runtime,
        precision=params.finetune.precision,
        train=partial(train_one, params, name),
    )
    if ended is not None:
        return ended
    results = {key: read_json(training.result / "metrics.json") for key, training in trainings.items()}
    metrics = {
        pooling: over_seeds({seed: results[Variant(seed, pooling)] for seed in seeds})
        for pooling in params.finetune.poolings
    }
    best = best_pooling(metrics)
    collect({key.folder(best): training for key, training in trainings.items()}, out)
    several = len(metrics) > 1
    content = metrics[best] | {"protocol": protocol(params.finetune, pooling=best)}
    write_json(finetune_metrics(name), content | ({"by_pooling": metrics} if several else {}))
    accuracies = [f"{labels} {value['accuracy']:.1%}" for labels, value in metrics[best]["labels"].items()]
    return ", ".join([*accuracies, *([f"pooling {best}"] if several else [])])


def train_one(params: Study, name: str, key: Variant, training: Training, fabric: Fabric) -> None:
    """Fine-tune one encoder with one pooling, see `train_classifier`."""
    train_classifier(params, name, key.seed, training, fabric, pooling=key.pooling)


def finetunings(params: Study, name: str, *, manifest: Manifest) -> dict[Variant, Training]:
    """Return the fine-tunings of one arm by seed and pooling, each with its fingerprint."""
    recipe = params.finetune
    settings = recipe.model_dump(exclude_none=True, exclude={"poolings", "validation_fraction"})
    settings["peak_lr"] = recipe.peak_lr
    if len(recipe.poolings) > 1:  # a single pooling needs no validation images
        settings["validation_fraction"] = recipe.validation_fraction
    code = code_digest("stages.heads.finetuning.train_classifier")
    data = manifest.content("train", "test", labels=True)
    by_pooling = {
        pooling: trainings_from(name, settings=settings | {"pooling": pooling}, data=data, code=code)
        for pooling in recipe.poolings
    }
    return {
        Variant(seed, pooling): training
        for pooling, trainings in by_pooling.items()
        for seed, training in trainings.items()
    }


if __name__ == "__main__":
    main()
