"""Training whatever the store lacks, alone or as one of several processes."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import cast

from lightning_fabric import Fabric

from stages.study.command import first_process
from stages.study.errors import StudyError
from stages.study.section import Precision
from stages.study.settings import Runtime
from stages.study.store import Training, recover
from stages.training.devices import launched, make_fabric

Train = Callable[[int, Training, Fabric], None]


def complete(
    trainings: Mapping[int, Training], *, out: Path, runtime: Runtime, precision: Precision, train: Train
) -> bool:
    """Run every training whose result is neither in the store nor in an out.

    trainings: by seed; out: folder of the arm, see `store.recover`
    train:     trains one from its seed, and keeps its result in the store
    returns:   whether this is the first of the processes that train together, which alone writes outs
    """
    lacking = recover(trainings, out) if first_process() else []
    if not lacking and not launched():
        return True
    fabric = make_fabric(runtime, precision=precision)
    for seed in cast(list[int], fabric.broadcast(lacking)):
        training = trainings[seed]
        with training.alone() if fabric.is_global_zero else nullcontext():
            if fabric.broadcast(not training.ended()):
                train(seed, training, fabric)
        fabric.barrier()
    return fabric.is_global_zero


def chosen(trainings: Mapping[int, Training], seed: int | None) -> Mapping[int, Training]:
    """Return one of the trainings, or all if no seed is asked for.

    Raises StudyError naming the seeds there are.
    """
    if seed is None:
        return trainings
    if seed not in trainings:
        seeds = ", ".join(str(number) for number in trainings)
        raise StudyError(f"--seed {seed}: params.yaml has no such seed for this arm; it has: {seeds}")
    return {seed: trainings[seed]}
