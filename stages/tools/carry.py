"""Carry trainings between machines that share no folder: `python -m stages.tools.carry pack FOLDER`.

    list           print arm, seed and fingerprint of every pre-training; equal lists can exchange trainings
    pack FOLDER    write the finished pre-trainings as tar files, one for each arm
    unpack FOLDER  put the trainings of all tar files in the folder into the store of this machine

If one machine reaches the other, `rsync -a HOST:study/scratch/trainings/ scratch/trainings/` does the same.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from stages.data.arrays import read_manifest
from stages.pretrain import pretrainings
from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.store import Training
from stages.tools import archives

Trainings = Mapping[str, Mapping[int, Training]]  # by arm and seed


def main() -> None:
    """Read the command line, and list, pack or unpack trainings."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.carry", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    for name in ("pack", "unpack"):
        actions.add_parser(name).add_argument("folder", type=Path)
    actions.choices["pack"].add_argument(
        "--size", type=int, metavar="MIB", help="largest file; small arms then share files"
    )
    options = parser.parse_args()

    def work() -> str:
        trainings = trainings_by_arm()
        if options.action == "list":
            return listed(trainings)
        if options.action == "unpack":
            return unpack(trainings, options.folder)
        return pack(trainings, options.folder, most=options.size and options.size * 2**20)

    exit_with("carry", work)


def trainings_by_arm() -> Trainings:
    """Return the pre-trainings that params.yaml names. Raises StudyError if the images are not prepared."""
    manifest = read_manifest()
    return {
        arm: pretrainings(load_params(stage="pretrain", arm=arm), arm, manifest=manifest)
        for arm in load_params().arms
    }


def listed(trainings: Trainings) -> str:
    """Return arm, seed and fingerprint of every training, one line each."""
    return "\n".join(
        f"{arm} {seed} {training.fingerprint}"
        for arm, seeds in trainings.items()
        for seed, training in seeds.items()
    )


def pack(trainings: Trainings, folder: Path, *, most: int | None) -> str:
    """Write the finished trainings as tar files and return their number in words; most: see archives.pack"""
    finished = {
        arm: several
        for arm, seeds in trainings.items()
        if (several := [training for training in seeds.values() if training.ended()])
    }
    paths = archives.pack(finished, folder, most=most)
    return f"{in_store(trainings)}; packed into {', '.join(path.name for path in paths) or 'no file'}"


def unpack(trainings: Trainings, folder: Path) -> str:
    """Put the trainings of all tar files into the store; return how many it has of each arm, in words.

    Raises StudyError if there is no tar file, or if one is damaged.
    """
    paths = sorted(folder.glob("*.tar"))
    if not paths:
        raise StudyError(f"{folder}: no tar file of trainings; name the folder that `pack` wrote")
    unpacked = {training for path in paths for training in archives.unpack(path)}
    others = unpacked.difference(*(seeds.values() for seeds in trainings.values()))
    words = f"; {len(others)} unpacked trainings have other settings, images or code" if others else ""
    return in_store(trainings) + words + ("; compare `list` of both machines" if others else "")


def in_store(trainings: Trainings) -> str:
    """Return how many trainings of each arm the store holds, in words."""
    counts = {arm: sum(training.ended() for training in seeds.values()) for arm, seeds in trainings.items()}
    return "in the store: " + ", ".join(
        f"{arm} {count} of {len(trainings[arm])}" for arm, count in counts.items()
    )


if __name__ == "__main__":
    main()
