"""List the trainings that the store lacks, as commands for any scheduler: `python -m stages.tools.trainings`.

    python -m stages.tools.trainings pretrain | xargs -P 4 -I{} sh -c '{}'

Each command trains one arm from one seed into the store; the longest come first. Without a stage, the list
covers all trainings that can start. Fine-tuning, for example, is listed only after its encoder exists.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stages.data.arrays import open_split, read_manifest
from stages.study.command import exit_with
from stages.study.errors import StudyError
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
        """Return the name of the training in scratch/timings.jsonl."""
        return f"{self.stage}@{self.arm}-{self.seed}"

    @property
    def command(self) -> str:
        """Return the arguments of `python` that run the training."""
        return f"-m stages.{self.stage} --arm {self.arm} --seed {self.seed}"


def main() -> None:
    """Read the command line and print a command for each training that the store lacks."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.trainings", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("stage", nargs="*", choices=[[], *STAGES], help="list only trainings of these stages")
    stages = parser.parse_args().stage or STAGES
    exit_with("trainings", lambda: commands(stages))


def commands(stages: Sequence[str]) -> str:
    """Return a command for each training of these stages that the store lacks, one per line.

    Raises StudyError if the images are not prepared.
    """
    read_manifest()
    return "\n".join(f"python {training.command}" for training in longest_first(lacking(*stages)))


def lacking(*stages: str) -> list[Lacking]:
    """Return the trainings of these stages that are neither in the store nor in an out.

    Trainings on top of encoders appear only after all encoders of their arm exist, and none before the images
    are prepared. Nothing is written.
    Raises ParamsError if params.yaml is not valid.
    """
    if not (DATA / "manifest.json").is_file():
        return []
    return [training for stage in STAGES if stage in stages for training in _lacking(stage)]


def _lacking(stage: str) -> Iterator[Lacking]:
    """Yield the missing trainings of one stage."""
    # Imported here, because torch takes seconds.
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
            try:
                trainings: dict[Any, Training] = trainings_of(declared, arm, manifest=manifest)
            except StudyError:
                if stage == "pretrain":
                    raise
                continue  # an encoder was changed; DVC restores it before these trainings
            missing = [key for key, each in trainings.items() if not is_there(each, folder(arm, 0))]
            # Fine-tunings differ in seed and pooling; a command trains all poolings of a seed.
            seeds = [key if isinstance(key, int) else key.seed for key in missing]
            yield from (Lacking(stage, arm, seed) for seed in dict.fromkeys(seeds))


def is_there(training: Training, out: Path) -> bool:
    """Return whether the store, the out of the arm or the out of a renamed arm has this training."""
    folders = (training.result, out, *out.parent.parent.glob("*/[0-9]*"))
    return any(sealed(folder) == training.fingerprint for folder in folders)


def longest_first(trainings: list[Lacking]) -> list[Lacking]:
    """Sort trainings by the time that the same stage and arm took here; unknown times come first."""
    runs = read_runs()
    return sorted(trainings, key=lambda t: -(expected_seconds(t.name, runs) or float("inf")))


if __name__ == "__main__":
    main()
