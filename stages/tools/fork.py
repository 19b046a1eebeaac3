"""Run a module as `python -m MODULE` would, in a fork of `stages.tools.preloaded`: `fork.py -m MODULE ...`.

Without one to ask it is `python -m MODULE` itself. It imports little, since every stage begins with it.
"""

import contextlib
import json
import os
import signal
import socket
import sys


def main() -> None:
    """Ask for the fork, hand signals on, end as it ends."""
    process = 0  # not begun

    def hand_on(number: int, frame: object) -> None:
        if not process:
            sys.exit(128 + number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    asked = {"words": sys.argv[1:], "environment": dict(os.environ), "directory": os.getcwd()}
    request = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as server:
        with contextlib.suppress(KeyError, OSError):
            server.connect(os.environ["STUDY_FORKS"])
            socket.send_fds(server, [len(request).to_bytes(4)], [0, 1, 2])
            server.sendall(request)
            process = int.from_bytes(server.recv(4))
        if not process:
            os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
        told = server.recv(4)
    code = int.from_bytes(told, signed=True) if told else -signal.SIGKILL
    if code < 0:  # by a signal, and so do we
        with contextlib.suppress(OSError):  # SIGKILL has no handler to take back
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
