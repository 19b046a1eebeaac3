"""A `python` for DVC that starts a stage in a fraction of a second, not in six.

It hands over what it is asked to a process that has imported what stages import, but for the project's own
code, and that forks a process which goes on as `python -m` does: in the folder, with the environment and the
open files of who asked, and with the code of the project there. All such processes order sets alike, unlike
those of the real one.
"""

import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.project import ROOT, environment

# Standard library alone and without site, since every stage starts one.
ASK = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    socket.send_fds(server, [b"."], [0, 1, 2])
    asked = {"words": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
    server.sendall(json.dumps(asked).encode())
    server.shutdown(socket.SHUT_WR)
    status = server.recv(1)
sys.exit(status[0] if status else "it was killed")
"""


@contextmanager
def forked_python(*, hash_seed: int = 0) -> Iterator[Path]:
    """A folder to put first on the path, with a `python` in it that knows `-m` alone.

    hash_seed: decides in which order its processes have sets of strings
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen()
        (Path(folder) / "ask.py").write_text(ASK)
        python = Path(folder) / "bin/python"
        python.parent.mkdir()
        command = f'"{sys.executable}" -IS "{folder}/ask.py" "{folder}/socket"'
        python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        python.chmod(0o755)
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.forked_python", f"{listener.fileno()}"],
            cwd=ROOT,
            env=environment() | {"PYTHONHASHSEED": f"{hash_seed}"},
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        try:
            yield python.parent
        finally:
            server.communicate()  # the end of its input ends it


def serve(listener: socket.socket) -> None:
    """Fork a process for everyone who asks, as long as the process that started this one lives."""
    for path in sorted((ROOT / "stages").rglob("*.py")):
        if "tools" not in path.parts:
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name in [name for name in sys.modules if name.partition(".")[0] == "stages"]:
        del sys.modules[name]
    gc.freeze()  # or every collection goes through all that torch has made
    while select.select([listener, sys.stdin], [], [])[0] == [listener]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            answer(connection)
        connection.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def answer(connection: socket.socket) -> None:
    """Run the module that is asked for, tell its exit status and end."""
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    asked = json.load(connection.makefile("rb"))
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.path[0] = asked["folder"]
    option, module, *words = asked["words"]
    sys.argv[1:] = words
    status = 1
    try:
        assert option == "-m"
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        connection.send(bytes([status]))
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
