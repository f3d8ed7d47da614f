"""No webhook is lost while faults happen."""

from devstack.postgres import EmbeddedPostgres
from devstack.valkey import EmbeddedValkey
from tests.faults.delivery_check import prove
from tests.support.live_system import LiveSystem

_EVENTS = 160


def test_every_healthy_receiver_has_every_event(
    system: LiveSystem, own_postgres: EmbeddedPostgres, own_valkey: EmbeddedValkey
):
    outcome = prove(system, own_postgres, own_valkey, _EVENTS)
    print(outcome)  # noqa: T201 - shows how many were repeated
    assert sum(outcome.issued.values()) == _EVENTS
    assert not any(outcome.lost.values())
    assert outcome.unsigned == 0
