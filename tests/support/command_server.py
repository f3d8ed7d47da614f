"""Runs the service's command line from a process that has imported it already.

To import the service takes longer than most commands. `python -m tests.support.command_server SOCKET`
serves; `python -I -S command_server.py SOCKET ARGUMENTS…` is one command. Each runs in a fork of the
server, with the caller's environment, folder and standard streams, and ends with the command's status.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STREAMS = (0, 1, 2)
_MOST_BYTES = 1 << 20
_READY = "ready"


def serve(path: str) -> None:
    """Serve commands until the end; print a line when ready."""
    import importlib
    import pkgutil

    import flask.cli

    import origin.app
    import origin.cli

    for each in pkgutil.walk_packages(origin.cli.__path__, "origin.cli."):
        importlib.import_module(each.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print(_READY, flush=True)  # noqa: T201 - the starting process reads it
        while True:
            caller, _ = listener.accept()
            with caller:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    listener.close()
                    _run(caller, flask.cli.main)


def _run(caller: socket.socket, main: Callable[[], Any]) -> None:
    """Run one command in this process, tell the caller its status, and end."""
    message, streams, _, _ = socket.recv_fds(caller, _MOST_BYTES, len(_STREAMS))
    wish = json.loads(message)
    for stream, given in zip(_STREAMS, streams, strict=True):
        os.dup2(given, stream)
        os.close(given)
    os.environ.clear()
    os.environ.update(wish["environment"])
    os.chdir(wish["folder"])
    sys.argv = ["flask", "--app", "origin.app:create_app()", *wish["arguments"]]
    status = 1
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - shown as Python does
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    caller.sendall(bytes([status]))
    os._exit(status)


def call(path: str, arguments: list[str]) -> int:
    """Run a command at the server, and return its status."""
    wish = {"arguments": arguments, "environment": dict(os.environ), "folder": str(Path.cwd())}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [json.dumps(wish).encode()], _STREAMS)
        return (server.recv(1) or b"\x01")[0]


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        sys.exit(call(sys.argv[1], sys.argv[2:]))
