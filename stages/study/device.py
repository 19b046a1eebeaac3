"""The device and threads of a process, from runtime: and never part of a result's key."""

import torch
from joblib import cpu_count

from stages.study.params import load_params
from stages.study.settings import Runtime


def set_threads(runtime: Runtime) -> None:
    """Use so many threads for one operation; without a number OMP_NUM_THREADS or all cores hold.

    Of all cores only those count that affinity and the quota of a container leave, which torch does not ask.
    """
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    elif torch.get_num_threads() > (cores := cpu_count()):
        torch.set_num_threads(cores)


def pick_device(runtime: Runtime) -> torch.device:
    """The accelerator asked for, or the best one there is, for work in one process."""
    set_threads(runtime)
    if runtime.accelerator != "auto":
        return torch.device(runtime.accelerator)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def chosen_device() -> list[str]:
    """The device of a stage that works in one process, in words."""
    return [f"{pick_device(load_params().runtime)}"]
