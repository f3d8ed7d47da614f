"""Finds free ports on the loopback address."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the kernel's range for outgoing connections (32768 and above): a server that restarts finds its
# port free again, and a client that retries can't connect to itself.
_RANGE = range(20_000, 32_000)
_ATTEMPTS = 200


def is_loopback(host: str | None) -> bool:
    """Return whether this name or address is this machine's loopback."""
    return host in {"localhost", LOOPBACK}


def is_free(port: int) -> bool:
    """Return whether nothing listens on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def wanted_port(port: int) -> int:
    """Return this port of 127.0.0.1 if it is free now, else a random free one."""
    return port if is_free(port) else free_port()


def free_port() -> int:
    """Return a random port of 127.0.0.1 that is free now; another process may still take it."""
    source = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = source.choice(_RANGE)
        if is_free(port):
            return port
    raise OSError(f"no free port found on {LOOPBACK} in {_RANGE}")
