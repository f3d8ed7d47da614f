"""Stand-ins for the service's peers: ledger, Hydra, DataHub, EnergyType, and a webhook receiver.

`python -m sandbox` starts them. `Sandbox` starts and controls them from tests and scripts.
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
