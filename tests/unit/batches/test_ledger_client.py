"""Records of the ledger's state that break the contract are errors (contract: domain, peers)."""

import json
from base64 import b64encode
from typing import Any

import pytest

from origin.batches.client.ledger import LedgerClient
from origin.errors import PeerMisbehaved
from origin.peers.http import PeerResponse

GGO = {
    "origin": "5a9839",
    "amount": 100,
    "begin": "2020-01-01T12:00:00+00:00",
    "end": "2020-01-01T13:00:00+00:00",
    "sector": "DK1",
    "tech_type": "T",
    "fuel_type": "F",
    "emissions": None,
    "next": {"action": "SPLIT", "addresses": ["849c0b"]},
}


@pytest.fixture
def ledger() -> LedgerClient:
    return LedgerClient("http://127.0.0.1:9", tls_verify=True)


def answers(monkeypatch: pytest.MonkeyPatch, ledger: LedgerClient, record: Any) -> None:
    """Let the ledger have this record at every address."""
    body = json.dumps({"data": b64encode(json.dumps(record).encode()).decode()}).encode()
    monkeypatch.setattr(ledger._http, "request", lambda *_: PeerResponse(200, body))


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": "100"},
        {"amount": True},
        {"begin": None},
        {"next": {"action": "SPLIT", "addresses": []}},
        {"next": {"action": "SPLIT", "addresses": [1]}},
    ],
    ids=str,
)
def test_a_ggo_is_read_strictly(
    monkeypatch: pytest.MonkeyPatch, ledger: LedgerClient, changes: dict[str, Any]
):
    answers(monkeypatch, ledger, GGO)
    found = ledger.read_ggo("849c0b")
    assert found is not None
    assert found.next_addresses == ("849c0b",)
    answers(monkeypatch, ledger, GGO | changes)
    with pytest.raises(PeerMisbehaved):
        ledger.read_ggo("849c0b")


def test_a_settlement_has_each_ggo_once(monkeypatch: pytest.MonkeyPatch, ledger: LedgerClient):
    part = {"ggo": "849c0b", "amount": 40}
    answers(monkeypatch, ledger, {"measurement": "5a9839", "parts": [part]})
    found = ledger.read_settlement("ba4817")
    assert found is not None
    assert found.amounts == {"849c0b": 40}
    answers(monkeypatch, ledger, {"measurement": "5a9839", "parts": [part, part]})
    with pytest.raises(PeerMisbehaved):
        ledger.read_settlement("ba4817")
