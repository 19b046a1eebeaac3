"""Pre-train one arm from each of its seeds: `python -m stages.pretrain --arm NAME [--seed N]`.

With --seed, one training goes into the store and no out is written, so any scheduler can fill the store.
"""

from functools import partial
from typing import Any

from stages.data.arrays import Manifest, read_manifest
from stages.encoders.sources import fetch, weights_of
from stages.objectives.contract import Objective
from stages.objectives.overrides import objectives_of, refuse_unfit
from stages.objectives.pretraining import train_encoder
from stages.objectives.reading import entries
from stages.study.fingerprint import code_digest, fingerprint
from stages.study.lookup import find
from stages.study.params import arm_of, load_params, seeds_of
from stages.study.paths import model_dir
from stages.study.recipe import recipe_of
from stages.study.store import Training, collect
from stages.study.study import Study
from stages.study.words import counted
from stages.training.complete import chosen, complete, run_training_stage
from stages.training.devices import circumstances


def main() -> None:
    """Read the command line and pre-train the arm."""
    run_training_stage(
        "pretrain",
        pretrain,
        description=__doc__,
        about=begin,
        writes=lambda name: model_dir(name, 0).parent,
    )


def begin(name: str) -> list[str]:
    """Return objective, device and precision in words, for the line that starts the stage."""
    params = load_params(stage="pretrain", arm=name)
    precision = recipe_of(params, name)[1].precision
    return [arm_of(params, name).objective, *circumstances(params.runtime, precision=precision)]


def pretrain(name: str, *, seed: int | None = None) -> str:
    """Train the encoders of one arm that the store lacks, and write all of them.

    seed: train only this one, and write no out
    Raises StudyError if the arm or its objective does not exist, or if the loss becomes infinite or NaN.
    """
    params = load_params(stage="pretrain", arm=name)
    if (arm := arm_of(params, name)).weights:
        fetch(arm)  # the fingerprint needs the digest of the file
    trainings = pretrainings(params, name, manifest=read_manifest())
    out = model_dir(name, 0).parent
    ended = complete(
        chosen(trainings, seed),
        alone=seed is not None,
        out=out,
        runtime=params.runtime,
        precision=recipe_of(params, name)[1].precision,
        train=partial(train_encoder, params, name),
    )
    if ended is not None:
        return ended
    collect(trainings, out)
    return counted(len(trainings), "encoder")


def pretrainings(params: Study, name: str, *, manifest: Manifest) -> dict[int, Training]:
    """Return the trainings of one arm by seed, each with its fingerprint.

    The fingerprint ignores options that are off and settings that the schedule or the objective does not
    read. An encoder without training does not depend on recipe and images.
    """
    arm = arm_of(params, name)
    vit, recipe = recipe_of(params, name)
    objective = find(Objective, arm.objective)
    refuse_unfit(name, arm, position=vit.position)
    unread = {"milestone"} if recipe.schedule == "cosine" else {"min_lr"}
    # Snapshots enter the fingerprint, because a finished training cannot add them later.
    if not recipe.snapshots:
        unread.add("snapshots")
    learnt = {
        "recipe": recipe.model_dump(exclude_none=True, exclude=unread) | {"peak_lr": recipe.peak_lr},
        "data": manifest.content("train", labels=objective.needs_labels),
    }
    settings: dict[str, Any] = {
        "objective": arm.objective,
        "arm": arm.model_dump(
            include={"cl_weight", "gradient_ratio", "mim_block", "stop_epoch", "format"}, exclude_none=True
        ),
        "weights": weights_of(name, arm) if arm.weights else None,
        "heads": arm.heads if arm.weights else None,
        "vit": vit.model_dump(exclude_none=True),
        "settings": {
            key: getattr(objectives_of(params, name), key).model_dump(exclude_none=True)
            for key in objective.settings
        },
        "image_size": params.data.image_size,
        "code": code_digest(
            "stages.objectives.pretraining.train_encoder",
            f"stages.objectives.{arm.objective}.OBJECTIVE",
            *entries(),
        ),
    }
    read = settings | learnt if objective.build is not None else settings
    return {seed: Training(fingerprint(seed=seed, **read)) for seed in seeds_of(params, name)}


if __name__ == "__main__":
    main()
