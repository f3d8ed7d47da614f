"""How the client reads DataHub's correct and wrong responses."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from origin.errors import PeerMisbehaved, PeerUnauthorized, PeerUnavailable
from origin.peers.datahub import DataHubMeasurement
from tests.support.world import World

GSRN = "571313180400000029"
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
PATH = "/measurements/consumed"


def _answer(**fields: Any) -> dict[str, Any]:
    measurement = {
        "address": "5a9839",
        "gsrn": GSRN,
        "begin": "2020-01-01T00:00:00Z",
        "end": "2020-01-01T01:00:00Z",
        "type": "consumption",
        "sector": "DK1",
        "amount": 7,
        **fields,
    }
    return {"success": True, "measurement": measurement}


def _consumed(world: World, **fault: Any) -> DataHubMeasurement | None:
    world.datahub.fault(endpoint=PATH, times=1, **fault)
    return world.runtime.datahub.consumed_measurement("a-token", GSRN, BEGIN)


@pytest.mark.parametrize(
    "begin",
    [
        "2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00+00:00",
        "2020-01-01T00:00:00",
        "2020-01-01 00:00:00",
        "2020-01-01T01:00:00+01:00",
    ],
)
def test_times_with_and_without_offset(world: World, begin: str) -> None:
    found = _consumed(world, status=200, body=_answer(begin=begin, new="field"))
    assert found is not None
    assert found.begin == BEGIN
    assert found.begin.utcoffset() == timedelta(0)
    assert found.amount == 7


@pytest.mark.parametrize(
    "body",
    [
        {"success": False},
        {"success": False, "measurement": None},
    ],
)
def test_no_published_measurement(world: World, body: object) -> None:
    assert _consumed(world, status=200, body=body) is None


@pytest.mark.parametrize(
    "body",
    [
        "garbage",
        [],
        {"what": 1},
        {"success": True, "measurement": None},
        {"success": True, "measurement": []},
        _answer(amount="7"),
        _answer(amount=7.5),
        _answer(amount=-1),
        _answer(amount=2**63),
        _answer(begin="soon"),
        _answer(begin=None),
        _answer(end="9999-12-31T23:59:59-10:00"),
        _answer(type="exchange"),
        _answer(gsrn=None),
    ],
)
def test_undocumented_shapes_are_errors(world: World, body: object) -> None:
    with pytest.raises(PeerMisbehaved):
        _consumed(world, status=200, body=body)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 401}, PeerUnauthorized),
        ({"status": 500}, PeerUnavailable),
        ({"status": 429}, PeerUnavailable),
        ({"cut": "before"}, PeerUnavailable),
        ({"status": 400}, PeerMisbehaved),
        ({"status": 302, "headers": {"Location": "/technologies"}}, PeerMisbehaved),
    ],
)
def test_undocumented_statuses_are_errors(
    world: World, fault: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        _consumed(world, **fault)
    assert "a-token" not in str(raised.value)
    assert type(raised.value) is error


def _publish(world: World, hours: int) -> None:
    point = {"sub": "alice", "gsrn": GSRN, "type": "consumption", "sector": "DK1"}
    world.datahub.control("meteringpoints", {"meteringpoints": [point]})
    world.new_user("alice")
    world.run_jobs()
    measurements = [
        {"gsrn": GSRN, "begin": (BEGIN + timedelta(hours=hour)).isoformat(), "amount": hour + 1}
        for hour in range(hours)
    ]
    world.datahub.control("measurements", {"measurements": measurements})


def test_measurements_come_in_pages(world: World) -> None:
    _publish(world, 7)
    world.datahub.control("settings", {"page_limit": 3})
    pages = world.runtime.datahub.measurement_pages(
        world.token("alice"),
        gsrn=[GSRN],
        begin=BEGIN,
        end=BEGIN + timedelta(hours=6),
        kind="consumption",
    )
    assert sorted(each.amount for page in pages for each in page) == [1, 2, 3, 4, 5, 6, 7]
    assert world.datahub.call_count("/measurements") == 3


def test_endless_pages_are_an_error(world: World) -> None:
    body = {"success": True, "total": 5, "measurements": []}
    world.datahub.fault(endpoint="/measurements", times=None, status=200, body=body)
    pages = world.runtime.datahub.measurement_pages("token", gsrn=[GSRN], begin=BEGIN, end=BEGIN)
    with pytest.raises(PeerMisbehaved):
        list(pages)


def test_consumed_measurement(world: World) -> None:
    _publish(world, 2)
    token = world.token("alice")
    found = world.runtime.datahub.consumed_measurement(token, GSRN, BEGIN + timedelta(hours=1))
    assert found is not None
    assert (found.amount, found.sector) == (2, "DK1")
    missing = world.runtime.datahub.consumed_measurement(token, GSRN, BEGIN + timedelta(hours=2))
    assert missing is None
