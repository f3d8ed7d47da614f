"""Consumption from DataHub's sums by hour equals that from its measurements."""

import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.declarations.client import consumption
from origin.declarations.client.consumption import read_consumption
from origin.declarations.rules.consumption import Consumption, consumed
from origin.errors import PeerMisbehaved
from origin.peers.datahub import DataHubClient

BEGIN = datetime(2020, 2, 29, 22, tzinfo=UTC)
END = BEGIN + timedelta(hours=200)
HOUR = timedelta(hours=1)


class _DataHub(DataHubClient):
    """DataHub with these measurements. `changes` replace parts of its answers: `count` or `summary`."""

    def __init__(self, rows: list[dict[str, Any]], **changes: Any) -> None:
        super().__init__("http://127.0.0.1:9", tls_verify=True)
        self._rows = sorted(rows, key=lambda row: row["begin"])
        self._changes = changes
        self.pages = 0

    def _raw(self, path: str, body: Any, _token: str) -> bytes:
        ends = [
            datetime.fromisoformat(body["filters"]["beginRange"][end]) for end in ("begin", "end")
        ]
        rows = [
            row
            for row in self._rows
            if row["gsrn"] in body["filters"]["gsrn"]
            and ends[0] <= datetime.fromisoformat(row["begin"]) <= ends[1]
        ]
        if path == "/measurements":
            self.pages += body["limit"] > 1
            page = rows[body["offset"] : body["offset"] + body["limit"]]
            answer = {"success": True, "total": len(rows), "measurements": page}
            return json.dumps(answer | self._changes.get("count", {})).encode()
        assert (body["resolution"], body["grouping"], body["fill"]) == ("hour", ["gsrn"], False)
        sums: dict[str, dict[str, int]] = {}
        for row in rows:
            label = row["begin"][:13].replace("T", " ") + ":00"
            group = sums.setdefault(row["gsrn"], {})
            group[label] = group.get(label, 0) + row["amount"]
        labels = sorted({label for group in sums.values() for label in group})
        groups = [
            {"group": [gsrn], "values": [group.get(label) for label in labels]}
            for gsrn, group in sums.items()
        ]
        answer = {"success": True, "labels": labels, "groups": groups}
        return json.dumps(answer | self._changes.get("summary", {})).encode()


def _row(
    gsrn: str, begin: datetime, minutes: int = 60, amount: int = 5, **more: Any
) -> dict[str, Any]:
    return {
        "address": "a",
        "gsrn": gsrn,
        "begin": begin.isoformat(),
        "end": (begin + timedelta(minutes=minutes)).isoformat(),
        "type": "consumption",
        "sector": "DK1",
        "amount": amount,
        **more,
    }


def _read(datahub: DataHubClient, *gsrns: str, exact: Collection[str] | None = None) -> Consumption:
    return read_consumption(datahub, "token", gsrns, BEGIN, END, exact=exact)


@st.composite
def _points(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Points that are measured hourly with gaps, then by shorter periods."""
    rows: list[dict[str, Any]] = []
    for gsrn in draw(st.sets(st.sampled_from("123"))):
        switch = draw(st.integers(0, 6))
        sector = draw(st.sampled_from(["DK1", "DK2"]))
        for number in range(6):
            if number < switch:
                minutes = draw(st.sampled_from([60, 60, 60, 0]))
            else:
                minutes = draw(st.sampled_from([60, 30, 15]))
            for start in range(0, 60 if minutes else 0, minutes or 60):
                begin = BEGIN + number * HOUR + timedelta(minutes=start)
                amount = draw(st.integers(0, 2**60))
                rows.append(_row(gsrn, begin, minutes, amount, sector=sector))
    return rows


@given(rows=_points())
def test_sums_by_hour_equal_the_measurements(rows: list[dict[str, Any]]) -> None:
    found = _read(_DataHub(rows), "1", "2", "3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumption, "_FEW", 10**9)
        by_page = _read(_DataHub(rows), "1", "2", "3")
    assert {place: sorted(zip(*each, strict=True)) for place, each in found.items()} == {
        place: sorted(zip(*each, strict=True)) for place, each in by_page.items()
    }


@given(rows=_points(), exact=st.sets(st.sampled_from("123")))
def test_hours_are_right_where_they_suffice(rows: list[dict[str, Any]], exact: set[str]) -> None:
    """In each sector. Points in `exact` have each of their periods."""
    found = _read(_DataHub(rows), "1", "2", "3", exact=exact)
    precise = _read(_DataHub(rows), "1", "2", "3")
    assert consumed(found) == consumed(precise)
    for place, measurements in precise.items():
        if place[0] in exact:
            assert found[place] == measurements


def test_quarter_hours_need_no_page_if_nothing_is_retired() -> None:
    rows = [_row("1", BEGIN + number * timedelta(minutes=15), 15) for number in range(10)]
    datahub = _DataHub(rows)
    assert _read(datahub, "1", exact=[])["1", "DK1"].amounts == [20, 20, 10]
    assert datahub.pages == 0
    assert len(_read(datahub, "1", exact=["1"])["1", "DK1"].amounts) == 10
    assert datahub.pages == 1


@pytest.mark.parametrize("amount", [2**53 + 1, 2**63 - 1])
def test_sums_may_exceed_what_floats_can_hold(amount: int) -> None:
    assert _read(_DataHub([_row("1", BEGIN, amount=amount)]), "1")["1", "DK1"].amounts == [amount]


def test_hourly_points_need_no_page() -> None:
    datahub = _DataHub([_row("1", BEGIN + number * HOUR) for number in range(150)])
    assert len(_read(datahub, "1", "2")["1", "DK1"].begins) == 150
    assert datahub.pages == 0


@pytest.mark.parametrize(
    "rows",
    [
        [_row("1", BEGIN, 15)],
        [_row("1", BEGIN, 15), _row("1", BEGIN + timedelta(minutes=15), 15)],
        [_row("1", BEGIN + timedelta(minutes=15))],
        [_row("1", BEGIN, 120)],
        [_row("1", BEGIN), _row("1", BEGIN + HOUR, 30), _row("1", BEGIN + 1.5 * HOUR, 30)],
    ],
)
def test_points_that_are_not_hourly_are_read_by_pages(rows: list[dict[str, Any]]) -> None:
    datahub = _DataHub(rows)
    begins = [int(datetime.fromisoformat(row["begin"]).timestamp()) for row in rows]
    assert _read(datahub, "1")["1", "DK1"].begins == begins
    assert datahub.pages == 1


@pytest.mark.parametrize(
    "change",
    [
        {"success": False},
        {"labels": None},
        {"labels": ["yesterday"]},
        {"labels": ["2020-02-29 22:15"]},
        {"labels": ["2020-02-29 22:00", "2020-02-29 23:00"]},
        {"groups": [{"group": ["1"], "values": ["5"]}]},
        {"groups": [{"group": ["1"], "values": [True]}]},
        {"groups": [{"group": ["1"], "values": [-1]}]},
        {"groups": [{"group": ["1"], "values": [1.5]}]},
        {"groups": [{"group": ["1"], "values": [2**63]}]},
        {"groups": [{"group": [], "values": [5]}]},
        {"groups": [{"group": ["1"], "values": [5]}] * 2},
        {"groups": [{"group": ["1"], "values": []}]},
    ],
)
def test_an_answer_that_is_no_summary_is_the_peers_error(change: dict[str, Any]) -> None:
    with pytest.raises(PeerMisbehaved):
        _read(_DataHub([_row("1", BEGIN)], summary=change), "1")


@pytest.mark.parametrize(
    "change",
    [
        {"success": False},
        {"total": "1"},
        {"measurements": []},
        {"measurements": [_row("1", BEGIN) | {"end": None}]},
        {"measurements": [_row("1", BEGIN) | {"begin": "soon"}]},
    ],
)
def test_an_answer_that_is_no_count_is_the_peers_error(change: dict[str, Any]) -> None:
    with pytest.raises(PeerMisbehaved):
        _read(_DataHub([_row("1", BEGIN)], count=change), "1")
