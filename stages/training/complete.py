"""Run a training stage: read its command line, and run the trainings that are not in the store."""

import argparse
from collections.abc import Callable, Hashable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from lightning_fabric import Fabric

from stages.data.arrays import refuse_changed_images
from stages.study.command import first_process, run
from stages.study.errors import StudyError
from stages.study.fingerprint import fingerprint
from stages.study.paths import encoder_digest
from stages.study.section import Precision
from stages.study.settings import Runtime
from stages.study.store import Training, recover, sealed_seeds
from stages.training.devices import make_fabric
from stages.training.launchers import started_with_others

Key = TypeVar("Key", bound=Hashable)


class Work(Protocol):
    def __call__(self, name: str, *, seed: int | None) -> str:
        """Run the stage for one arm, or only one of its trainings; return one line with the key result."""


def run_training_stage(
    stage: str,
    work: Work,
    *,
    description: str | None,
    about: Callable[[str], list[str]],
    writes: Callable[[str], Path],
) -> None:
    """Read --arm and --seed from the command line and run a training stage.

    stage:  name in dvc.yaml
    about:  returns what an arm is trained with, in words
    writes: returns the path of an arm's result
    """
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}", description=description)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    parser.add_argument("--seed", type=int, help="train only this seed, into the store; write no out")
    arguments = parser.parse_args()
    arm, seed = arguments.arm, arguments.seed
    run(
        f"{stage}@{arm}" + ("" if seed is None else f"-{seed}"),
        lambda: work(arm, seed=seed),
        about=lambda: about(arm),
        writes=writes(arm) if seed is None else None,
    )


def trainings_from(name: str, **dependencies: Any) -> dict[int, Training]:
    """Return one training for each encoder of an arm, by seed.

    dependencies: everything that the results depend on, except the encoder and the seed
    Raises StudyError if a file of an encoder changed since its training.
    """
    return {
        seed: Training(fingerprint(encoder=encoder_digest(name, seed), seed=seed, **dependencies))
        for seed in sealed_seeds(name)
    }


def complete(
    trainings: Mapping[Key, Training],
    *,
    alone: bool,
    out: Path,
    runtime: Runtime,
    precision: Precision,
    train: Callable[[Key, Training, Fabric], None],
) -> str | None:
    """Run every training whose result is neither in the store nor in an out.

    trainings: by seed or another distinct key
    alone:     the command trains one seed (see `chosen`) and writes no out
    out:       folder of the arm, see `store.recover`
    train:     runs one training and puts its result into the store
    returns:   the last line of a process that writes no out; None: the caller must write the out
    Raises StudyError if the images changed since prepare.
    """
    missing = recover(trainings, out) if first_process() else []
    first = True
    if missing:
        refuse_changed_images()
    if missing or started_with_others():
        fabric = make_fabric(runtime, precision=precision)
        for key in cast(list[Key], fabric.broadcast(missing)):
            training = trainings[key]
            with training.alone() if fabric.is_global_zero else nullcontext():
                if fabric.broadcast(not training.ended()):
                    train(key, training, fabric)
            fabric.barrier()
        first = fabric.is_global_zero
    if not first:
        return ""
    return ", ".join(f"{training.result}" for training in trainings.values()) if alone else None


def chosen(trainings: Mapping[int, Training], seed: int | None) -> Mapping[int, Training]:
    """Return the training of one seed, or all trainings if seed is None.

    Raises StudyError, which lists the seeds of the arm.
    """
    if seed is None:
        return trainings
    if seed not in trainings:
        seeds = ", ".join(str(number) for number in trainings)
        raise StudyError(f"--seed {seed}: no such seed for this arm in params.yaml; choose from: {seeds}")
    return {seed: trainings[seed]}
