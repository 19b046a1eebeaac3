"""Which trainings the store lacks, as commands for any scheduler: `python -m stages.tools.trainings`.

    python -m stages.tools.trainings pretrain | xargs -P 4 -I{} sh -c '{}'

Each line trains one arm from one seed into the store; those that take longest come first. Without a stage
named, all that can be known is listed: fine-tuning, say, has no training before its encoder exists.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stages.data.arrays import open_split, read_manifest
from stages.study.command import exit_with
from stages.study.params import load_params
from stages.study.paths import DATA, augmented_dir, finetune_dir, model_dir, segmenter_dir, trained_seeds
from stages.study.store import Training, sealed
from stages.study.timings import expected_seconds, read_runs

STAGES = ("pretrain", "finetune", "linear_augmented", "segment")


class Lacking(NamedTuple):
    """One training that is neither in the store nor in an out."""

    stage: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Return what its process calls it in scratch/timings.jsonl."""
        return f"{self.stage}@{self.arm}-{self.seed}"

    @property
    def command(self) -> str:
        """Return the words after `python` that train it."""
        return f"-m stages.{self.stage} --arm {self.arm} --seed {self.seed}"


def main() -> None:
    """Read the command line and print a command for each training that the store lacks."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.trainings", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("stage", nargs="*", choices=[[], *STAGES], help="only those of these stages")
    stages = parser.parse_args().stage or STAGES
    exit_with(
        "trainings",
        lambda: "\n".join(f"python {training.command}" for training in longest_first(lacking(*stages))),
    )


def lacking(*stages: str) -> list[Lacking]:
    """Return the trainings of these stages that are neither in the store nor in an out; nothing is written.

    A stage that trains from an encoder is left out for an arm until all encoders of the arm exist.
    Raises ParamsError if params.yaml is not valid.
    """
    if not (DATA / "manifest.json").is_file():
        return []
    return [training for stage in STAGES if stage in stages for training in _lacking(stage)]


def _lacking(stage: str) -> Iterator[Lacking]:
    """Give the missing trainings of one stage."""
    # Imported here, since torch takes seconds.
    from stages.finetune import finetunings
    from stages.linear_augmented import head_trainings
    from stages.pretrain import pretrainings
    from stages.segment import segmentings

    ways: dict[str, tuple[Callable[..., Any], Callable[[str, int], Path]]] = {
        "pretrain": (pretrainings, model_dir),
        "finetune": (finetunings, finetune_dir),
        "linear_augmented": (head_trainings, augmented_dir),
        "segment": (segmentings, segmenter_dir),
    }
    trainings_of, folder = ways[stage]
    manifest, params = read_manifest(), load_params()
    if stage == "segment" and any(open_split(split).masks is None for split in ("train", "test")):
        return
    for arm in params.linear_augmented.arms if stage == "linear_augmented" else params.arms:
        declared = load_params(stage=stage, arm=arm)
        if stage == "pretrain" or trained_seeds(arm):
            trainings: dict[Any, Training] = trainings_of(declared, arm, manifest=manifest)
            missing = [key for key, each in trainings.items() if not is_there(each, folder(arm, 0))]
            # Fine-tunings are told apart by seed and pooling; a command trains all poolings of a seed.
            seeds = [key if isinstance(key, int) else key.seed for key in missing]
            yield from (Lacking(stage, arm, seed) for seed in dict.fromkeys(seeds))


def is_there(training: Training, out: Path) -> bool:
    """Return whether a result in the store, in its out or in that of a renamed arm bears this fingerprint."""
    folders = (training.result, out, *out.parent.parent.glob("*/[0-9]*"))
    return any(sealed(folder) == training.fingerprint for folder in folders)


def longest_first(trainings: list[Lacking]) -> list[Lacking]:
    """Sort trainings by how long those of the same stage and arm took here; the unknown come first."""
    runs = read_runs()
    return sorted(trainings, key=lambda t: -(expected_seconds(t.name, runs) or float("inf")))


if __name__ == "__main__":
    main()
