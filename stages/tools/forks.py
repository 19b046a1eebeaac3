"""Stages as forks of one process that has imported their libraries, on Linux.

A stage computes for less time than it spends on imports (6 s of CPU), and a study has dozens of stages.
`forks` starts the process that forks; `python stages/tools/forks.py -m MODULE ...` asks it for a fork that
goes on as `python -m MODULE ...`. The fork reads the project's own files anew, as DVC hashed them.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import NoReturn

LIBRARIES = (
    "lightning_fabric",
    "pandas",
    "pydantic",
    "safetensors.torch",
    "timm.data",
    "timm.optim",
    "torch",
)
# What single stages need besides, imported while nobody asks.
LATER = ("matplotlib.figure", "sklearn.manifold", "papermill", "nbconvert", "bs4", "mlflow.tracking",
         "mlflow.store.tracking.sqlalchemy_store")  # fmt: skip
LONGEST_SOCKET = 104  # bytes of a name, with the zero at its end; 108 on Linux
ASK = "python stages/tools/forks.py"  # in the root of the project, where DVC runs its stages


@contextlib.contextmanager
def forks(environment: dict[str, str], *, wanted: bool = True) -> Iterator[dict[str, str]]:
    """Give what to add to the environment of `dvc repro` so that its stages are forks.

    environment: of the process that forks, added to this one's; it decides the number of threads
    Give nothing if not wanted, or STUDY_PYTHON says already how stages are started, or off Linux, where
    libraries may start threads.
    """
    if not wanted or sys.platform != "linux" or "STUDY_PYTHON" in os.environ:
        yield {}
        return
    # A long TMPDIR leaves no room for the name of a socket.
    place = None if len(f"{tempfile.gettempdir()}/tmp01234567/socket") < LONGEST_SOCKET else "/tmp"
    with tempfile.TemporaryDirectory(dir=place) as private:  # nobody else can reach a socket there
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{private}/socket")
            listener.listen(64)
            server = subprocess.Popen(
                [sys.executable, "-m", "stages.tools.forks", f"{listener.fileno()}"],
                env=os.environ | environment,
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,  # which ends with this process, however it ends
                process_group=0,  # Ctrl-C is for the forks
            )
        try:
            asking = {"STUDY_PYTHON": ASK, "STUDY_FORKS": f"{private}/socket"}
            yield asking | {"STUDY_LAUNCH": os.environ.get("STUDY_LAUNCH", ASK)}
        finally:
            server.kill()
            server.wait()


def ask(words: list[str]) -> NoReturn:
    """Run `python WORDS` as a fork and end with its exit status; without a process to ask, as Python itself.

    The fork joins the process group of this process, so Ctrl-C and `kill -- -GROUP` reach it directly.
    """
    request = {"words": words, "environment": dict(os.environ), "directory": os.getcwd()}
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(os.environ["STUDY_FORKS"])
        except (KeyError, OSError):
            os.execv(sys.executable, [sys.executable, *words])
        socket.send_fds(server, [b"."], [0, 1, 2])
        server.sendall(json.dumps(request | {"group": os.getpgrp()}).encode())
        server.shutdown(socket.SHUT_WR)
        begun = server.recv(1)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the fork has heard it as well and says how it ended
        status = server.recv(1) if begun else b""
    sys.exit(status[0] if status else f"{' '.join(words)}: killed")


def serve(listener: socket.socket) -> None:
    """Import the libraries, then fork for everyone who asks, until the standard input ends."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # it would start a thread, which a fork loses
    for name in LIBRARIES:
        importlib.import_module(name)
    later = list(LATER)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        gc.freeze()  # what is there stays shared with the forks
        ready, _, _ = select.select([listener, sys.stdin], [], [], 0 if later else None)
        if sys.stdin in ready:
            return
        if not ready:
            importlib.import_module(later.pop(0))
            continue
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            become(connection)
        connection.close()


def become(connection: socket.socket) -> NoReturn:
    """Go on as the `python -m` that the other side asks for, with its streams, environment and folder."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.load(connection.makefile("rb"))
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.path[0] = request["directory"]
    sys.argv[1:] = request["words"][2:]
    status = 1  # after an exception that nobody catches

    @atexit.register  # runs after all that the stage registers
    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            connection.sendall(bytes([status & 255]))
        os._exit(status)  # to take the libraries down would copy the memory that is shared

    try:
        with contextlib.suppress(OSError):  # who asks may be in another process space, as a container is
            os.setpgid(0, request["group"])
        connection.sendall(b".")
        runpy.run_module(request["words"][1], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    sys.exit()


if __name__ == "__main__":
    if sys.argv[1] == "-m":
        ask(sys.argv[1:])
    serve(socket.socket(fileno=int(sys.argv[1])))
