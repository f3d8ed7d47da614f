"""A response of an undocumented shape is the peer's error. It never counts as "nothing found"."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from origin.batches.client.ledger import LedgerClient
from origin.batches.rules.ledger_state import LedgerNext
from origin.errors import PeerMisbehaved
from origin.peers.datahub import DataHubClient
from tests.support.scripted_peer import ScriptedPeer, http_answer

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
MEASURED = {
    "address": "a",
    "gsrn": "1",
    "begin": "2020-01-01T12:00:00Z",
    "end": "2020-01-01T13:00:00Z",
    "type": "consumption",
    "sector": "DK1",
    "amount": 7,
}
RECORD = {
    "origin": "a",
    "amount": 7,
    "begin": "2020-01-01T12:00:00+00:00",
    "end": "2020-01-01T13:00:00+00:00",
    "sector": "DK1",
    "tech_type": "T",
    "fuel_type": "F",
    "next": None,
}
Answering = Callable[..., str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Return the URL of a peer that answers with these documents in order."""
    peer = ScriptedPeer()

    def url(*documents: Any, status: str = "200 OK") -> str:
        for document in documents:
            answer = http_answer(json.dumps(document).encode(), status)
            peer.scripts.append(lambda to, answer=answer: to.sendall(answer))
        return f"http://{peer.address}"

    yield url
    peer.close()


def _consumed(url: str) -> Any:
    return DataHubClient(url, tls_verify=True).consumed_measurement("token", "1", NOON)


@pytest.mark.parametrize(
    "document", [{"success": False}, {"success": False, "measurement": None, "new": 1}]
)
def test_no_measurement(answering: Answering, document: Any) -> None:
    assert _consumed(answering(document)) is None


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"what": 1},
        {"measurement": None},
        {"measurement": MEASURED},
        {"success": True},
        {"success": True, "measurement": None},
        {"success": True, "measurement": {}},
        {"success": True, "measurement": []},
        {"success": False, "measurement": MEASURED},
        {"success": False, "measurement": {}},
        {"success": False, "measurement": ""},
        {"success": None, "measurement": None},
        {"success": 0},
        {"success": "false"},
        {"success": "true", "measurement": MEASURED},
        {"success": 1, "measurement": MEASURED},
        [],
        None,
    ],
)
def test_an_unexpected_response_does_not_count_as_no_measurement(
    answering: Answering, document: Any
) -> None:
    with pytest.raises(PeerMisbehaved):
        _consumed(answering(document))


def _pages(url: str) -> list[Any]:
    datahub = DataHubClient(url, tls_verify=True)
    return [*datahub.measurement_pages("token", gsrn=["1"], begin=NOON, end=NOON)]


@pytest.mark.parametrize(
    "pages",
    [
        [{"success": True, "total": 0, "measurements": [MEASURED]}],
        [{"success": True, "total": -1, "measurements": []}],
        [{"success": True, "total": None, "measurements": []}],
        [{"success": True, "total": False, "measurements": []}],
        [{"success": True, "total": 0.5, "measurements": []}],
        [{"success": True, "total": 0}],
        [{"success": True, "measurements": []}],
        [{"success": True, "total": 0, "measurements": None}],
        [{"success": True, "total": 0, "measurements": {}}],
        [{"success": False, "total": 0, "measurements": []}],
        [{"total": 0, "measurements": []}],
        [
            {"success": True, "total": 2, "measurements": [MEASURED]},
            {"success": True, "total": 0, "measurements": []},
        ],
    ],
)
def test_an_unexpected_page_does_not_count_as_the_last_one(
    answering: Answering, pages: list[Any]
) -> None:
    with pytest.raises(PeerMisbehaved):
        _pages(answering(*pages))


def test_the_number_of_measurements_may_be_written_as_a_float(answering: Answering) -> None:
    url = answering(*[{"success": True, "total": 1.0, "measurements": [MEASURED]}] * 2)
    assert [len(page) for page in _pages(url)] == [1]
    datahub = DataHubClient(url, tls_verify=True)
    counted = datahub.count_measurements("t", gsrn="1", begin=NOON, end=NOON, kind="consumption")
    assert counted.total == 1


@pytest.mark.parametrize("value", [None, {}, "", 0, False])
@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("ggos", lambda datahub: datahub.ggos("token", "1", NOON, NOON)),
        ("meteringpoints", lambda datahub: datahub.metering_points("token")),
        ("technologies", lambda datahub: datahub.technologies()),
    ],
)
def test_a_missing_list_does_not_count_as_empty(
    answering: Answering, name: str, ask: Callable[[Any], Any], value: Any
) -> None:
    for document in ({"success": True, name: value}, {"success": True}, {name: []}):
        with pytest.raises(PeerMisbehaved):
            ask(DataHubClient(answering(document), tls_verify=True))


@pytest.mark.parametrize(
    "document",
    [
        {"success": True, "total": 0, "measurements": []},
        {"success": True, "total": 1, "measurements": [MEASURED | {"address": ""}]},
        {"success": True, "total": 1, "measurements": [MEASURED | {"address": None}]},
    ],
)
def test_a_measurement_without_an_address_yet(answering: Answering, document: Any) -> None:
    datahub = DataHubClient(answering(document), tls_verify=True)
    assert datahub.any_measurement("token", "1") is None


@pytest.mark.parametrize(
    "document",
    [
        {"success": True, "total": 1, "measurements": []},
        {"success": True, "measurements": []},
        {"success": True, "total": 1, "measurements": [{}]},
        {"success": True, "total": 1, "measurements": [None]},
        {"success": True, "total": 1, "measurements": [MEASURED | {"address": False}]},
        {"success": True, "total": 1, "measurements": [MEASURED | {"address": []}]},
    ],
)
def test_an_unexpected_measurement_does_not_count_as_one_without_an_address(
    answering: Answering, document: Any
) -> None:
    """Otherwise a key index that DataHub's addresses prove would count as unused."""
    with pytest.raises(PeerMisbehaved):
        DataHubClient(answering(document), tls_verify=True).any_measurement("token", "1")


def _unsubscribed(url: str) -> bool:
    datahub = DataHubClient(url, tls_verify=True)
    return datahub.unsubscribe("token", "on-ggo-issued", url="http://us", secret="s")


def test_unsubscribing_tells_whether_there_was_a_subscription(answering: Answering) -> None:
    assert _unsubscribed(answering({"success": True})) is True
    assert _unsubscribed(answering({"success": False})) is False


@pytest.mark.parametrize("document", [{}, {"what": 1}, {"success": None}, {"success": 1}])
def test_an_unexpected_response_does_not_count_as_no_subscription(
    answering: Answering, document: Any
) -> None:
    with pytest.raises(PeerMisbehaved):
        _unsubscribed(answering(document))


def _ledger(url: str) -> LedgerClient:
    return LedgerClient(url, tls_verify=True)


def _state(state: Any) -> dict[str, Any]:
    return {"data": b64encode(json.dumps(state).encode()).decode()}


def test_the_ledgers_batches(answering: Answering) -> None:
    url = answering(
        _state(RECORD),
        _state(RECORD | {"next": {"action": "SPLIT", "addresses": ["b"]}}),
        _state({"measurement": "m", "parts": [{"ggo": "a", "amount": 7.0}]}),
    )
    record = _ledger(url).read_ggo("a")
    assert record is not None
    assert (record.amount, record.next) == (7, None)
    split = _ledger(url).read_ggo("a")
    assert split is not None
    assert split.next == LedgerNext("SPLIT", ("b",))
    settlement = _ledger(url).read_settlement("s")
    assert settlement is not None
    assert settlement.amounts == {"a": 7}


@pytest.mark.parametrize(
    "following",
    [
        False,
        {},
        [],
        "",
        {"action": "SPLIT"},
        {"action": "SPLIT", "addresses": None},
        {"action": "SPLIT", "addresses": []},
        {"action": "SPLIT", "addresses": "b"},
        {"action": "SPLIT", "addresses": {"b": 1}},
        {"action": "SPLIT", "addresses": [1]},
        {"action": None, "addresses": ["b"]},
    ],
)
def test_an_unexpected_next_of_a_ggo(answering: Answering, following: Any) -> None:
    with pytest.raises(PeerMisbehaved):
        _ledger(answering(_state(RECORD | {"next": following}))).read_ggo("a")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": None},
        {"data": ""},
        {"data": "!" + _state(RECORD)["data"]},
        _state(None),
        _state([]),
        _state({}),
        _state({name: value for name, value in RECORD.items() if name != "next"}),
    ],
)
def test_unexpected_states(answering: Answering, document: Any) -> None:
    for ask in (LedgerClient.read_ggo, LedgerClient.read_settlement):
        with pytest.raises(PeerMisbehaved):
            ask(_ledger(answering(document)), "a")


@pytest.mark.parametrize(
    "change",
    [
        {"amount": True},
        {"amount": "7"},
        {"amount": 7.5},
        {"amount": None},
        {"origin": None},
        {"origin": 5},
    ],
)
def test_unexpected_records(answering: Answering, change: dict[str, Any]) -> None:
    with pytest.raises(PeerMisbehaved):
        _ledger(answering(_state(RECORD | change))).read_ggo("a")


@pytest.mark.parametrize(
    "parts",
    [
        None,
        {},
        "",
        [{}],
        [None],
        [{"ggo": "a"}],
        [{"ggo": "a", "amount": True}],
        [{"ggo": "a", "amount": "7"}],
        [{"ggo": None, "amount": 7}],
        [{"ggo": "a", "amount": 7}, {"ggo": "a", "amount": 7}],
        [{"ggo": "a", "amount": 7}, {"ggo": "a", "amount": 8}],
    ],
)
def test_an_unexpected_settlement(answering: Answering, parts: Any) -> None:
    with pytest.raises(PeerMisbehaved):
        _ledger(answering(_state({"measurement": "m", "parts": parts}))).read_settlement("s")


@pytest.mark.parametrize("document", [{}, {"data": None}, {"data": {}}, {"data": ""}])
def test_a_missing_list_of_statuses(answering: Answering, document: Any) -> None:
    with pytest.raises(PeerMisbehaved):
        _ledger(answering(document)).statuses(["a"])


@pytest.mark.parametrize(
    "document", [{}, {"error": None}, {"error": {"code": "75"}}, {"error": {"code": 72}}, [], None]
)
def test_only_the_ledgers_own_code_means_that_nothing_is_there(
    answering: Answering, document: Any
) -> None:
    with pytest.raises(PeerMisbehaved):
        _ledger(answering(document, status="404 Not Found")).read_ggo("a")
