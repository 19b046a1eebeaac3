"""The processes that train together, as launchers describe them."""

import ctypes
import signal

import pytest

from stages.study.errors import StudyError
from stages.training.devices import refuse_missing_devices
from stages.training.launchers import Processes, as_torchrun_would, mortal, processes
from tests.forked import FORKS

BATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_NODEID": "0"}
# Of the second of two tasks on each of two nodes, as `srun -N 2 --ntasks-per-node 2` sets them.
STEP = BATCH | {
    "SLURM_STEP_ID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
ONE_TASK = BATCH | {"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}
TORCHRUN = {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
OF_FABRIC = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}


def test_a_step_of_slurm_is_described_as_torchrun_would():
    assert as_torchrun_would(STEP) == {
        "RANK": "3",
        "LOCAL_RANK": "1",
        "GROUP_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_WORLD_SIZE": "2",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "15703",
    }


def test_two_steps_of_a_job_have_ports_of_their_own():
    ports = {as_torchrun_would(STEP | {"SLURM_STEP_ID": f"{step}"})["MASTER_PORT"] for step in range(100)}
    assert len(ports) == 100 and all(1024 < int(port) < 32768 for port in ports)


@pytest.mark.parametrize("environ", [{}, BATCH, ONE_TASK, STEP | TORCHRUN])
def test_nothing_is_added_to_what_a_launcher_says_or_where_there_is_none(environ):
    assert as_torchrun_would(environ) == {}


@pytest.mark.parametrize(
    ("environ", "together"),
    [
        ({}, (3, 1, False)),
        (ONE_TASK, (3, 1, False)),
        (OF_FABRIC, (3, 1, False)),
        (BATCH | {"STUDY_LAUNCH": "srun python"}, (3, 1, False)),
        (TORCHRUN, (4, 2, True)),
        (BATCH | TORCHRUN, (4, 2, True)),
        (STEP | as_torchrun_would(STEP), (2, 2, True)),
    ],
)
def test_the_launcher_says_how_many_train_together_else_the_settings_do(environ, together):
    assert processes(environ, devices=3) == Processes(*together)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (BATCH, "2 tasks, but only this process"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "without LOCAL_WORLD_SIZE"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "mpirun: its 4 processes"),
        ({"PMI_SIZE": "2", "MPI_LOCALNRANKS": "1"}, "mpirun: its 2 processes"),  # MPICH, one on each node
    ],
)
def test_processes_that_would_wait_for_others_in_vain_are_refused(environ, message):
    with pytest.raises(StudyError, match=message):
        processes(environ, devices=2)


def test_uneven_nodes_are_refused():
    with pytest.raises(StudyError, match="--ntasks-per-node"):
        as_torchrun_would(STEP | {"SLURM_STEP_TASKS_PER_NODE": "2,1"})


def test_more_processes_than_devices_are_refused(monkeypatch):
    import torch

    refuse_missing_devices(64, device=torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)
    refuse_missing_devices(1, device=torch.device("cuda"))
    with pytest.raises(StudyError, match="needs 2 cuda devices, but this machine has 1"):
        refuse_missing_devices(2, device=torch.device("cuda"))
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    with pytest.raises(StudyError, match="--gpus-per-node=2"):
        refuse_missing_devices(2, device=torch.device("cuda"))


def wait_in_c(waits):
    """Take a lock twice, as a process waits for others: handlers of Python's do not run meanwhile."""
    signal.signal(signal.SIGTERM, lambda number, frame: print("handled"))
    with mortal():
        lock, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
        libc.pthread_mutex_lock(lock)
        waits.set()
        libc.pthread_mutex_lock(lock)


def test_a_process_that_waits_for_others_in_c_dies_of_sigterm():
    waits = FORKS.Event()
    process = FORKS.Process(target=wait_in_c, args=(waits,))
    process.start()
    assert waits.wait(timeout=60)
    process.terminate()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGTERM


def test_handlers_are_back_after_the_wait():
    before = signal.getsignal(signal.SIGINT)
    with mortal():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before
