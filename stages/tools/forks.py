"""Run stages as forks of one server process that has already imported their libraries, on Linux.

Imports take 6 s of CPU, often more than a stage itself, and a study has dozens of stages. `forks` starts the
server. `python stages/tools/forks.py -m MODULE ...` asks it for a fork that continues as
`python -m MODULE ...`. The fork reads the files of the project again, as DVC has hashed them.
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
# Libraries of single stages, imported while the server is idle.
LATER = ("matplotlib.figure", "sklearn.manifold", "papermill", "nbconvert", "bs4", "mlflow.tracking",
         "mlflow.store.tracking.sqlalchemy_store")  # fmt: skip
LONGEST_SOCKET = 104  # bytes of a socket's path with its final zero; 108 on Linux
ASK = "python stages/tools/forks.py"  # relative to the root of the project, where DVC runs stages


@contextlib.contextmanager
def forks(environment: dict[str, str], *, wanted: bool = True) -> Iterator[dict[str, str]]:
    """Yield variables for the environment of `dvc repro` that make its stages forks.

    environment: variables for the server, added to those of this process; they set the number of threads
    Yields an empty mapping if forks are not wanted, if STUDY_PYTHON already defines how stages start, or on
    other systems than Linux, where libraries may start threads.
    """
    if not wanted or sys.platform != "linux" or "STUDY_PYTHON" in os.environ:
        yield {}
        return
    # With a long TMPDIR, the path of the socket would be too long.
    longest = len(os.fsencode(f"{tempfile.gettempdir()}/tmp01234567/socket"))
    place = None if longest < LONGEST_SOCKET else "/tmp"
    with tempfile.TemporaryDirectory(dir=place) as private:  # other users cannot reach the socket
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{private}/socket")
            listener.listen(64)
            server = subprocess.Popen(
                [sys.executable, "-m", "stages.tools.forks", f"{listener.fileno()}"],
                env=os.environ | environment,
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,  # closes whenever and however this process ends
                process_group=0,  # Ctrl-C must reach the forks only
            )
        try:
            asking = {"STUDY_PYTHON": ASK, "STUDY_FORKS": f"{private}/socket"}
            yield asking | {"STUDY_LAUNCH": os.environ.get("STUDY_LAUNCH", ASK)}
        finally:
            server.kill()
            server.wait()


def ask(words: list[str]) -> NoReturn:
    """Run `python WORDS` as a fork and exit with its status; without a server, run it in this process.

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
            signal.signal(number, signal.SIG_IGN)  # the fork gets the signal too and reports its status
        status = server.recv(1) if begun else b""
    sys.exit(status[0] if status else f"{' '.join(words)}: killed")


def serve(listener: socket.socket) -> None:
    """Import the libraries, then fork for every request, until the standard input closes."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # telemetry starts a thread, which a fork loses
    for name in LIBRARIES:
        importlib.import_module(name)
    later = list(LATER)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps forks, since nobody waits for them
    while True:
        gc.freeze()  # existing objects stay shared with the forks
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
    """Continue as the requested `python -m`, with the streams, environment and folder of the other side."""
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
    status = 1  # for an uncaught exception

    @atexit.register  # registered first, so it runs last
    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            connection.sendall(bytes([status & 255]))
        os._exit(status)  # a normal exit would copy the shared memory of the libraries

    try:
        with contextlib.suppress(OSError):  # the other side may be in another process namespace
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
