"""Users trade while everything around them breaks; then the auditor looks at all of it.

FAULT_SEED=7 pytest tests/faults/test_sabotage.py tells the story of another seed; `make faults`
tells many.
"""

import os

import pytest

from devstack.postgres import EmbeddedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.rounds import sabotage_round
from tests.support.town import Town

_SEEDS = [int(seed) for seed in os.environ.get("FAULT_SEED", "7 32").split()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", _SEEDS)
def test_energy_is_conserved_whatever_breaks(
    town: Town, own_postgres: EmbeddedPostgres, own_valkey: EmbeddedValkey, seed: int
):
    """SIGKILLs, restarts, flushes, and a ledger that misbehaves in every way it can."""
    sabotage_round(town, (own_postgres, own_valkey), seed, acts=20)
