"""Determine which processes train together, whether torchrun, srun or Fabric starts them."""

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
    launched: bool  # by torchrun or srun; otherwise Fabric starts all processes but the first

    @property
    def environment(self) -> ClusterEnvironment:
        """Return Fabric's source of ranks: torchrun's variables, or Fabric's own."""
        return TorchElasticEnvironment() if self.launched else LightningEnvironment()


def processes(environ: Mapping[str, str], *, devices: int) -> Processes:
    """Return the processes that train together with this one.

    environ: variables of this process, including those of `as_torchrun_would`
    devices: runtime.devices, used if there is no launcher
    Raises StudyError if a launcher announces processes that were not started, or starts processes that cannot
    train together.
    """
    if "LOCAL_WORLD_SIZE" in environ:
        return Processes(number(environ, "LOCAL_WORLD_SIZE"), number(environ, "GROUP_WORLD_SIZE"), True)
    if "RANK" in environ and number(environ, "WORLD_SIZE") > 1:
        raise StudyError(
            "WORLD_SIZE and RANK are set without LOCAL_WORLD_SIZE; start the stage with torchrun"
        )
    # Open MPI, and MPICH or Intel MPI; PMI_SIZE alone can also come from srun.
    size = "PMI_SIZE" if "MPI_LOCALNRANKS" in environ else "OMPI_COMM_WORLD_SIZE"
    if (mpi := number(environ, size)) > 1:
        raise StudyError(f"mpirun: its {mpi} processes cannot train together; use torchrun or srun instead")
    tasks = number(environ, "SLURM_NTASKS")
    # With STUDY_LAUNCH="srun python", only pre-training uses all tasks; later stages are single processes.
    if tasks > 1 and "SLURM_STEP_ID" not in environ and "srun" not in environ.get("STUDY_LAUNCH", ""):
        raise StudyError(
            f"Slurm gives this job {tasks} tasks, but only this process was started; put srun before the "
            "command, or request one task"
        )
    return Processes(devices, 1, False)


def as_torchrun_would(environ: Mapping[str, str]) -> dict[str, str]:
    """Translate srun's ranks into torchrun's variables; return nothing if srun started only one process.

    Fabric's own Slurm support refuses `srun --ntasks`, does not recognise srun inside salloc, and gives two
    steps of one job the same port.
    Raises StudyError if the nodes have different numbers of processes.
    """
    if number(environ, "SLURM_STEP_NUM_TASKS") == 1 or "LOCAL_WORLD_SIZE" in environ:
        return {}
    per_node, _, several = environ["SLURM_STEP_TASKS_PER_NODE"].partition("(")  # 4, 4(x2), or 4,2
    if "," in per_node + several:
        raise StudyError(
            f"srun starts {environ['SLURM_STEP_TASKS_PER_NODE']} processes on its nodes; "
            "request the same number on each with --ntasks-per-node"
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
    """Return the integer value of a variable; 1 if it is unset or not an integer."""
    value = environ.get(variable, "")
    return int(value) if value.isdigit() else 1


@contextmanager
def mortal() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C kill the process at once in a block that waits for other processes in C code.

    Python's own handlers run only after such a call, which takes half an hour if a process never starts.
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
