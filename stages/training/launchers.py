"""Which processes train together, and who starts them: torchrun, srun, or Fabric itself."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from stages.study.errors import StudyError


class Processes(NamedTuple):
    """Processes that train together."""

    per_node: int
    nodes: int
    launched: bool  # by torchrun or srun; otherwise Fabric starts all but the first

    @property
    def environment(self) -> ClusterEnvironment:
        """Return what tells Fabric their ranks: variables as torchrun sets them, or Fabric's own."""
        return TorchElasticEnvironment() if self.launched else LightningEnvironment()


def processes(environ: Mapping[str, str], *, devices: int) -> Processes:
    """Return which processes train with this one.

    environ: variables of this process, with those of `as_torchrun_would`
    devices: runtime.devices, which counts where no launcher says how many there are
    Raises StudyError if a launcher promises processes that nobody started, or started more than it says.
    """
    if "LOCAL_WORLD_SIZE" in environ:
        return Processes(number(environ, "LOCAL_WORLD_SIZE"), number(environ, "GROUP_WORLD_SIZE"), True)
    if "RANK" in environ and number(environ, "WORLD_SIZE") > 1:
        raise StudyError("WORLD_SIZE and RANK are set without LOCAL_WORLD_SIZE; start the stage by torchrun")
    if (mpi := number(environ, "OMPI_COMM_WORLD_SIZE")) > 1:
        raise StudyError(f"mpirun started {mpi} processes that do not train together; use torchrun or srun")
    tasks = number(environ, "SLURM_NTASKS")
    # With STUDY_LAUNCH="srun python" only pre-training has all tasks; what follows is one process each.
    if tasks > 1 and "SLURM_STEP_ID" not in environ and "srun" not in environ.get("STUDY_LAUNCH", ""):
        raise StudyError(
            f"Slurm gives this job {tasks} tasks, but this is the only process that was started; "
            "put srun before the command, or ask for one task"
        )
    return Processes(devices, 1, False)


def as_torchrun_would(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the ranks that srun gives in the variables of torchrun; nothing if srun started one process.

    Fabric's own reading of Slurm refuses `srun --ntasks`, overlooks srun inside salloc, and gives two steps
    of one job the same port.
    Raises StudyError if the nodes have different numbers of processes.
    """
    if number(environ, "SLURM_STEP_NUM_TASKS") == 1 or "LOCAL_WORLD_SIZE" in environ:
        return {}
    per_node, _, several = environ["SLURM_STEP_TASKS_PER_NODE"].partition("(")  # 4, 4(x2), or 4,2
    if "," in per_node + several:
        raise StudyError(
            f"srun starts {environ['SLURM_STEP_TASKS_PER_NODE']} processes on its nodes; "
            "ask for as many on each with --ntasks-per-node"
        )
    address = SLURMEnvironment.resolve_root_node_address(environ["SLURM_STEP_NODELIST"])
    step = 100 * number(environ, "SLURM_JOB_ID") + int(environ["SLURM_STEP_ID"])
    return {
        "RANK": environ["SLURM_PROCID"],
        "LOCAL_RANK": environ["SLURM_LOCALID"],
        "GROUP_RANK": environ["SLURM_NODEID"],
        "WORLD_SIZE": environ["SLURM_STEP_NUM_TASKS"],
        "LOCAL_WORLD_SIZE": per_node,
        "GROUP_WORLD_SIZE": environ["SLURM_STEP_NUM_NODES"],
        "MASTER_ADDR": environ.get("MASTER_ADDR", address),
        "MASTER_PORT": f"{15000 + step % 15000}",
    }


def number(environ: Mapping[str, str], variable: str) -> int:
    """Return the number that a variable is set to; 1 if it is not set to one."""
    value = environ.get(variable, "")
    return int(value) if value.isdigit() else 1


@contextmanager
def mortal() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C kill at once in the block, where the process waits for others in C.

    Python's handlers run only after such a call, which lasts half an hour if another process never comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {name: signal.signal(name, signal.SIG_DFL) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler)


def started_with_others() -> bool:
    """Return whether torchrun, srun or Fabric started other processes that train with this one."""
    return (
        number(os.environ, "WORLD_SIZE") > 1
        or number(os.environ, "SLURM_STEP_NUM_TASKS") > 1
        or "LOCAL_RANK" in os.environ
    )
