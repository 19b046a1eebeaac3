"""A real Slurm of two nodes on loopback. Each node has its own process space, so it can crash alone."""

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.project import environment

NODES = ("n1", "n2")
COMMANDS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol", "scancel", "unshare")
SPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
LONGEST_START = 60  # seconds until all daemons answer; it takes one on an idle machine


class NotStarted(Exception):
    """No Slurm can run on this machine, for the reason given."""


class Cluster:
    """The daemons of a Slurm, and its commands."""

    def __init__(self, folder: Path) -> None:
        """Write the configuration and a key into an empty folder."""
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("munge", "state"):
            (folder / name).mkdir(mode=0o700)
        key = folder / "munge/key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        ports = dict(zip(("port", "port_1", "port_2"), free_ports(3), strict=True))
        text = Path(__file__).with_name("slurm.conf").read_text()
        host = platform.node().partition(".")[0]
        (folder / "slurm.conf").write_text(text.format(host=host, folder=folder, **ports))

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of Slurm's commands."""
        path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
        return environment() | {"SLURM_CONF": f"{self.folder}/slurm.conf", "PATH": path}

    def start(self, name: str, *words: str) -> None:
        """Start a daemon."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                words, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def start_node(self, name: str) -> None:
        """Start a node whose processes see none of the others'."""
        self.start(name, *SPACE, "slurmd", "-D", "-N", name)

    def crash(self, name: str) -> None:
        """Kill all processes of a node at once, as a power cut does, and take the node out of service.

        Slurm would notice after SlurmdTimeout, which is off: a node that is only slow must not count as lost.
        """
        self.end(name)
        assert self.agrees("scontrol", "update", f"nodename={name}", "state=down", "reason=crashed")

    def end(self, name: str) -> None:
        """End a daemon and all its processes."""
        daemon = self.daemons.pop(name)
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(daemon.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        daemon.kill()
        daemon.wait()

    def agrees(self, *words: str) -> bool:
        """Return whether Slurm does what a command asks; its errors are for the report of a failed test."""
        done = subprocess.run(words, env=self.environment, text=True, capture_output=True)
        print(done.stderr, end="")
        return done.returncode == 0

    def idle(self) -> bool:
        """Return whether all nodes are ready for jobs."""
        words = ("sinfo", "--noheader", "-N", "-o", "%T")
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(words, env=self.environment, text=True, capture_output=True, timeout=10)
            return done.stdout.split() == ["idle"] * len(NODES)
        return False

    def ended(self) -> str:
        """Return the last words of a daemon that has ended by itself; nothing while all run."""
        for name, daemon in self.daemons.items():
            if daemon.poll() is not None:
                lines = (self.folder / f"{name}.out").read_text().splitlines()
                return f"{name} ended with {lines[-1] if lines else 'no word'}"
        return ""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Run a Slurm whose files lie in an empty folder. Raises NotStarted if this machine cannot."""
    refuse_machine()
    slurm = Cluster(folder)
    munge = folder / "munge"
    options = {
        "key-file": "key",
        "socket": "socket",
        "pid-file": "pid",
        "seed-file": "seed",
        "log-file": "log",
    }
    words = [f"--{option}={munge}/{file}" for option, file in options.items()]
    try:
        slurm.start("munged", "munged", "--force", "--foreground", f"--socket={munge}/socket", *words)
        answers(slurm, (munge / "socket").exists)
        slurm.start("slurmctld", "slurmctld", "-D")
        for name in NODES:
            slurm.start_node(name)
        answers(slurm, slurm.idle)
        yield slurm
    finally:
        for name in reversed([*slurm.daemons]):
            slurm.end(name)


def refuse_machine() -> None:
    """Raise NotStarted if programs or rights are missing."""
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    absent = [name for name in COMMANDS if shutil.which(name, path=path) is None]
    if absent:
        raise NotStarted(f"Slurm is not installed: {', '.join(absent)}")
    if os.geteuid():
        raise NotStarted("only root may start Slurm")
    if subprocess.run([*SPACE, "true"], capture_output=True).returncode:
        raise NotStarted("no right to give each node a process space")


def answers(slurm: Cluster, happens: Callable[[], object]) -> None:
    """Wait until the daemons answer. Raises NotStarted if one ends or none answers."""
    deadline = time.monotonic() + LONGEST_START
    while not happens():
        if words := slurm.ended():
            raise NotStarted(f"Slurm does not start here: {words}")
        if time.monotonic() > deadline:
            raise NotStarted(f"Slurm does not start here: no answer within {LONGEST_START} s")
        time.sleep(0.1)


def wait_for(happens: Callable[[], object], *, seconds: float = 600) -> None:
    """Wait until something happens, which it must."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def free_ports(number: int) -> list[int]:
    """Return ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
