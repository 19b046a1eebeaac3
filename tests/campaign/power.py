"""Cut the power at random moments of a pre-training, and compare what the next runs end with.

`python -m tests.campaign.power --points 20` takes minutes. The model of the disk is in power_loss.py. Each
point is continued from both of its extremes: all names but only synced content, and only what was synced.
"""

import argparse
import atexit
import random
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.campaign.power_loss import losing_power
from tests.campaign.small_study import CHANGES, LEFT_OUT
from tests.forked import forked, succeed
from tests.project import copy_project

STAGES = (("pretrain", "--arm", "mim"), ("features", "--arm", "mim"))
OUTS = ("models/mim", "features/mim")
MOST = {"pretrain": 150, "features": 12}  # changes that the stage makes to the disk, at most


def main() -> None:
    """Read the command line, run the campaign and print its figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.power", description=__doc__)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="power-"))
    draws = random.Random(arguments.seed)
    prepared = copy_project(folder / "prepared", changes=CHANGES, leave_out=LEFT_OUT)
    succeed(prepared, "prepare")
    expected = ended(shutil.copytree(prepared, folder / "whole"))
    points, wrong = 0, []
    while points < arguments.points:
        project = shutil.copytree(prepared, folder / f"{points}")
        number = draws.choice([0, 0, 0, 1])
        for words in STAGES[:number]:
            succeed(project, *words)
        at = draws.randint(1, MOST[STAGES[number][0]])
        disks = folder / f"{points}-left"
        forked(project, *STAGES[number], first=partial(lose_power, project, disks, at))
        if disks.exists():  # else the stage ended before so many changes
            points += 1
            for kind in ("names", "synced"):
                if ended(disks / kind) != expected:
                    wrong.append(f"{' '.join(STAGES[number])}, change {at}, {kind}: other results")
            print(f"{points}: {STAGES[number][0]}, before change {at}: {len(wrong)} wrong so far", flush=True)
        shutil.rmtree(disks, ignore_errors=True)
        shutil.rmtree(project)
    shutil.rmtree(folder)
    sys.exit("\n".join(wrong) or None)


def lose_power(project: Path, disks: Path, at: int) -> None:
    """Lose power before a change of the stage that this process is about to run."""
    power = losing_power(project, disks, at=at)
    power.__enter__()
    atexit.register(power.__exit__, None, None, None)  # or Python would end it right away


def ended(project: Path) -> dict[str, bytes]:
    """Run all stages to their ends and return the bytes of their results."""
    for words in STAGES:
        succeed(project, *words)
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for out in OUTS
        for path in (project / out).rglob("*")
        if path.is_file()
    }


if __name__ == "__main__":
    main()
