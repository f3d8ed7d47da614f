"""The service's peers as small, honest servers: ledger, Hydra, DataHub, EnergyType, a receiver.

`python -m sandbox` starts them; `Sandbox` does so for tests and scripts, and steers them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.running import Peers, Sandbox

__all__ = ["Peers", "Sandbox"]


def __getattr__(name: str) -> Any:
    """Import on first use: gevent must patch the servers' process before sockets are imported."""
    if name not in __all__:
        raise AttributeError(name)
    from sandbox import running

    return getattr(running, name)
