"""Users trade while faults happen; then the auditor compares the database with the ledger.

`FAULT_SEED=7 pytest tests/faults/test_fault_rounds.py` runs another seed; `make faults` runs many.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from devstack.replicated import ReplicatedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.fault_injector import DATABASE_LOSSES, FaultPlan
from tests.support.fault_rounds import HARD_TIMES, fault_round
from tests.support.live_system import LiveSystem, running_system

_SEEDS = [int(seed) for seed in os.environ.get("FAULT_SEED", "7 32").split()]
# Faults that short random rounds rarely include. Those that restart processes come last, because
# processes that are starting are left alone.
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
    """The servers that faults may affect."""
    return own_postgres, own_valkey


@pytest.fixture(scope="module", autouse=True)
def _another_worker(system: LiveSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a second worker, which takes over from one that is stopped."""
    with system.another_worker(tmp_path_factory.mktemp("another")):
        yield


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", _SEEDS)
def test_energy_is_conserved_whatever_breaks(system: LiveSystem, servers: Servers, seed: int):
    """Random faults of all kinds: SIGKILL, restarts, flushes, a ledger that misbehaves."""
    fault_round(system, servers, seed, FaultPlan(acts=20))


@pytest.mark.timeout(300)
def test_energy_is_conserved_when_each_of_these_breaks(system: LiveSystem, servers: Servers):
    """Interim responses, stopped processes, read-only servers, wrong clocks."""
    done = fault_round(system, servers, 1, FaultPlan(acts=0, only=_EACH_ONCE)).faults
    # It is random whether a call meets an interim response.
    assert done.keys() >= {name for name in _EACH_ONCE if not name.startswith("interim")}
    assert done <= Counter(_EACH_ONCE)


@pytest.fixture(scope="module")
def fresh_system(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[LiveSystem, Servers]]:
    """A separate system whose GGOs are all on the ledger, as a recovery expects."""
    logs = tmp_path_factory.mktemp("on the ledger")
    with ReplicatedPostgres(fsync=False) as postgres, EmbeddedValkey() as valkey:
        uri = postgres.create_database("faults")
        with (
            running_system(uri, valkey, logs, HARD_TIMES) as system,
            system.another_worker(logs),
        ):
            yield system, (postgres, valkey)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database_loss", DATABASE_LOSSES)
def test_energy_is_conserved_when_the_database_falls_back(
    fresh_system: tuple[LiveSystem, Servers], database_loss: str
):
    """Each GGO is recovered from the ledger for its owner, while users continue to trade."""
    system, servers = fresh_system
    done = fault_round(system, servers, 2, FaultPlan(acts=8, database_loss=database_loss)).faults
    assert done[database_loss] == 1
