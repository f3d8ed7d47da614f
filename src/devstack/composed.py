"""`make compose-check`: runs the demo against the system that compose.yaml has started.

The exit status is 0 only if every balance is right. It can be run any number of times.
"""

import sys

from dotenv import dotenv_values

from devstack.client import ApiRefusalError, UnexpectedAnswerError
from devstack.console import Console
from devstack.demo import Demo
from devstack.guarded import ProcessFailedError
from devstack.processes import ROOT
from devstack.stack import System, api_client
from sandbox.clients import ControlError
from sandbox.running import Peers

# .env.example has no variable for it.
_RECEIVER_URL = "http://127.0.0.1:24448"


def _system() -> System:
    """Return the system at the addresses in .env.example, which compose.yaml publishes here."""
    variables = {name: value or "" for name, value in dotenv_values(ROOT / ".env.example").items()}
    url = variables["PROJECT_URL"]
    sandbox = Peers(
        {
            "hydra": variables["HYDRA_URL"],
            "datahub": variables["DATAHUB_SERVICE_URL"],
            "energytype": variables["ENERGY_TYPE_SERVICE_URL"],
            "ledger": variables["LEDGER_URL"],
            "receiver": _RECEIVER_URL,
        }
    )
    return System(url, sandbox, api_client(url, sandbox))


def main() -> int:
    """Run the demo; return the exit status."""
    console = Console()
    try:
        return 0 if Demo(_system(), console).run() else 1
    except (ProcessFailedError, ApiRefusalError, UnexpectedAnswerError, ControlError) as error:
        console.say(f"  ✗ {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
