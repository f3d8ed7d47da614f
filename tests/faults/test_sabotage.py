"""Users trade while everything around them breaks; then the auditor looks at all of it.

FAULT_SEED=7 pytest tests/faults/test_sabotage.py tells the story of another seed; `make faults`
tells many.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from devstack.replicated import ReplicatedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.rounds import TOKENS_ASKED_OFTEN, sabotage_round
from tests.support.saboteur import DISASTERS, Plan
from tests.support.town import Town, running_town

_SEEDS = [int(seed) for seed in os.environ.get("FAULT_SEED", "7 32").split()]
# What chance leaves out of a short round more often than not. Those that restart processes come
# late: who only starts is left alone.
_EACH_ONCE = (
    "interim responses: POSTs",
    "interim responses: statuses",
    "interim responses: Hydra",
    "SIGSTOP the worker",
    "SIGSTOP one web process",
    "interim responses: state",
    "interim responses: receivers",
    "stop PostgreSQL at once",
    "READONLY Redis",
    "read-only PostgreSQL",
    "interim responses: DataHub",
    "SIGSTOP beat",
    "NOREPLICAS Redis",
    "OOM Redis",
    "NOPERM Redis",
    "demoted PostgreSQL",
    "skew beat's clock",
    "skew the workers' clocks",
    "skew the web's clock",
)

Servers = tuple[ReplicatedPostgres, EmbeddedValkey]


@pytest.fixture(scope="module")
def servers(own_postgres: ReplicatedPostgres, own_valkey: EmbeddedValkey) -> Servers:
    """What may be broken beside the service's processes."""
    return own_postgres, own_valkey


@pytest.fixture(scope="module", autouse=True)
def _another_worker(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """It takes over from one that stands still."""
    with town.another_worker(tmp_path_factory.mktemp("another")):
        yield


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", _SEEDS)
def test_energy_is_conserved_whatever_breaks(town: Town, servers: Servers, seed: int):
    """SIGKILLs, restarts, flushes, and a ledger that misbehaves in every way it can."""
    sabotage_round(town, servers, seed, Plan(acts=20))


@pytest.mark.timeout(300)
def test_energy_is_conserved_when_each_of_these_breaks(town: Town, servers: Servers):
    """Interim responses, processes that stand still, read-only servers, wrong clocks."""
    done = sabotage_round(town, servers, 1, Plan(acts=0, only=_EACH_ONCE)).faults
    # Whether a receiver or Hydra was asked while they were at it is chance.
    assert done.keys() >= {name for name in _EACH_ONCE if not name.startswith("interim")}
    assert done <= Counter(_EACH_ONCE)


@pytest.fixture(scope="module")
def town_on_the_ledger(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Town, Servers]]:
    """A town of its own: the ledger has all its GGOs, as a recovery expects."""
    logs = tmp_path_factory.mktemp("on the ledger")
    with ReplicatedPostgres() as postgres, EmbeddedValkey() as valkey:
        uri = postgres.create_database("faults")
        with (
            running_town(uri, valkey, logs, TOKENS_ASKED_OFTEN) as town,
            town.another_worker(logs),
        ):
            yield town, (postgres, valkey)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("disaster", DISASTERS)
def test_energy_is_conserved_when_the_database_falls_back(
    town_on_the_ledger: tuple[Town, Servers], disaster: str
):
    """What the ledger has is recovered, each GGO as its owner's, while users go on trading."""
    town, servers = town_on_the_ledger
    done = sabotage_round(town, servers, 2, Plan(acts=8, disaster=disaster)).faults
    assert done[disaster] == 1
