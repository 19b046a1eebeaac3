"""A process that has imported torch and its like once, and forks for every stage of `stages.tools.repro`.

A stage of the study spends four to eight seconds on imports, and a study has dozens of stages. The fork reads
the project's own files anew, as DVC hashed them: only libraries are imported beforehand. The idea is that of
Python's own multiprocessing.forkserver, for whole commands; `stages/tools/fork.py` asks for one.
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
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = (
    "lightning_fabric",
    "pandas",
    "pydantic",
    "safetensors.torch",
    "timm.data",
    "timm.optim",
    "torch",
)
LATER = (  # what single stages need besides, imported while nobody asks
    "matplotlib.figure",
    "sklearn.manifold",
    "papermill",
    "nbconvert",
    "bs4",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
)
ASK = "python stages/tools/fork.py"  # in the root of the project, where DVC runs its stages


@contextlib.contextmanager
def preloaded(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """What to add to the environment of `dvc repro` so that its stages are forks.

    environment: of the process that forks; threads are counted when libraries are imported
    Nothing but on Linux, and nothing where STUDY_PYTHON says already how stages are started.
    """
    # On other systems libraries may start threads, which a fork loses.
    if sys.platform != "linux" or "STUDY_PYTHON" in os.environ:
        yield {}
        return
    with tempfile.TemporaryDirectory() as private:  # a socket that nobody else can reach
        place = Path(private) / "forks"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
            listener.listen()  # those who ask too early wait
            process = subprocess.Popen(
                [sys.executable, "-m", "stages.tools.preloaded", str(listener.fileno())],
                env=os.environ | environment,
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,  # which ends with us, however we end
                process_group=0,  # Ctrl-C is for those who ask
            )
        try:
            asking = {"STUDY_PYTHON": ASK, "STUDY_FORKS": str(place)}
            yield asking | {"STUDY_LAUNCH": os.environ.get("STUDY_LAUNCH", ASK)}
        finally:
            process.kill()
            process.wait()


def main() -> None:
    """Import the libraries, then fork for everyone who asks, until the standard input ends."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # it starts a thread
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # what is there stays shared with the forks
    later = list(LATER)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [], 0 if later else None)
        if sys.stdin in ready:
            return
        if not ready:
            importlib.import_module(later.pop(0))
            gc.freeze()
            continue
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            attend(connection)
        connection.close()


def attend(connection: socket.socket) -> NoReturn:
    """Run what the other side asks for in a fork, tell it the number of that process and how it ended.

    If the other side is killed, so is the fork.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as stream:
        asked = json.loads(stream.read(int.from_bytes(size)))
    process = os.fork()
    if process == 0:
        connection.close()
        become(asked, descriptors)
    with contextlib.suppress(OSError):
        connection.sendall(process.to_bytes(4))
    watched = connection.fileno(), os.pidfd_open(process)
    if watched[1] not in select.select(watched, [], [])[0]:
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(code.to_bytes(4, signed=True))
    os._exit(0)


def become(asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Go on as `python -m` of the words asked for, with the streams, environment and place of who asks."""
    code = 1  # after an exception that nobody catches

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["directory"])
    sys.path[0] = os.getcwd()
    sys.argv = asked["words"][:1] + asked["words"][2:]
    # After all that the stage registers. To take the libraries down would copy the memory that is shared.
    atexit.register(leave)
    try:
        runpy.run_module(asked["words"][1], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
        raise
    sys.exit()


if __name__ == "__main__":
    main()
