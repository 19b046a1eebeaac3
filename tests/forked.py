"""Stages run in processes forked from one that has imported them: a fraction of a second each, not six."""

import contextlib
import gc
import importlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# Forked from a process of its own, not from that of the tests, where threads of torch may run.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        f"stages.{name}"
        for name in ("prepare", "pretrain", "finetune", "probe", "analyze", "report", "summary")
    ]
    + ["tests.forked", "tests.training.interruptions"]
    + [f"stages.objectives.{name}" for name in ("autoencoder", "dino", "hybrid", "random", "supervised")]
)


class Done(NamedTuple):
    """How a process ended (minus the signal, if one killed it) and what it said."""

    returncode: int
    stdout: str
    stderr: str


def forked(
    project: Path,
    stage: str,
    *words: str,
    first: Callable[[], None] | None = None,
    own_code: bool = False,
) -> Done:
    """Run the main of a stage in the project.

    first:    called there before; pickle must know it
    own_code: run the code of the project, not ours, which is imported already
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / "stdout", Path(folder) / "stderr"]
        process = FORKS.Process(target=_main, args=(project, stage, words, first, outputs, own_code))
        with contextlib.chdir(ROOT):  # where the first one finds what to import
            process.start()
        process.join(timeout=300)
        process.kill()
        process.join()
        return Done(process.exitcode, *(path.read_text() if path.exists() else "" for path in outputs))


def succeed(project: Path, stage: str, *words: str) -> Done:
    """Run the main of a stage, which must succeed."""
    done = forked(project, stage, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def _main(
    project: Path,
    stage: str,
    words: list[str],
    first: Callable[[], None] | None,
    outputs: list[Path],
    own_code: bool,
) -> None:
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    for name in [name for name in os.environ if name.startswith("DVC_")]:
        del os.environ[name]
    gc.freeze()  # or every collection goes through all that torch has made
    os.chdir(project)
    if own_code:
        for name in [name for name in sys.modules if name.partition(".")[0] == "stages"]:
            del sys.modules[name]
        sys.path.insert(0, str(project))
    sys.argv = [f"stages.{stage}", *words]
    module = importlib.import_module(f"stages.{stage}")
    if first is not None:
        first()
    module.main()
