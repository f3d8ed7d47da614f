"""Clients for the control calls: one class per server, one method per call."""

from sandbox.clients.base import Control, ControlError
from sandbox.clients.datahub import DataHubClient
from sandbox.clients.energytype import EnergyTypeClient
from sandbox.clients.hydra import HydraClient, Tokens
from sandbox.clients.ledger import LedgerClient
from sandbox.clients.receiver import ReceiverClient

__all__ = [
    "Control",
    "ControlError",
    "DataHubClient",
    "EnergyTypeClient",
    "HydraClient",
    "LedgerClient",
    "ReceiverClient",
    "Tokens",
]
