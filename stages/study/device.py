"""Choose the device and number of threads of a process; they are never part of a result's key."""

import torch
from joblib import cpu_count

from stages.study.params import load_params
from stages.study.settings import Runtime


def set_threads(runtime: Runtime) -> None:
    """Set the number of threads of one operation to runtime.threads.

    If runtime.threads is null, torch keeps its default (OMP_NUM_THREADS or all cores), but at most as many as
    CPU affinity and the quota of a container allow. Torch ignores the quota.
    """
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    elif torch.get_num_threads() > (cores := cpu_count()):
        torch.set_num_threads(cores)


def pick_device(runtime: Runtime) -> torch.device:
    """Return the device that runtime.accelerator names, or the best one available, for a single process."""
    set_threads(runtime)
    if runtime.accelerator != "auto":
        return torch.device(runtime.accelerator)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def chosen_device() -> list[str]:
    """Return the device of a single-process stage, in words."""
    return [f"{pick_device(load_params().runtime)}"]
