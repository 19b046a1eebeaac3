"""A `python` for DVC that starts a stage in half a second, not in six: a fork, as `make study` uses."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.tools.forks import forks
from tests.project import ROOT


@contextmanager
def forked_python(*, hash_seed: int = 0) -> Iterator[Path]:
    """Give a folder to put first on the path, with a `python` in it.

    hash_seed: decides in which order its processes have sets of strings
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with contextlib.chdir(ROOT):  # where the process that forks finds its own code
            asking = stack.enter_context(forks({"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": f"{hash_seed}"}))
        ask = f'-IS "{ROOT}/stages/tools/forks.py"' if asking else ""  # elsewhere than on Linux: no forks
        script = f'STUDY_FORKS="{asking.get("STUDY_FORKS", "")}" exec "{sys.executable}" {ask} "$@"'
        (folder / "python").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "python").chmod(0o755)
        yield folder
