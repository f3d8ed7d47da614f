"""Legal but rare answers of peers, and illegal ones (contract: peers.md)."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from origin.declarations.client.consumption import read_consumption
from origin.declarations.client.energytypes import EnergyTypeClient
from origin.declarations.rules.declarations import Mix
from origin.errors import PeerMisbehaved
from origin.peers.datahub import DataHubClient
from tests.support.consumption import exactly

BEGIN = datetime(2020, 2, 29, 22, tzinfo=UTC)
H22 = int(BEGIN.timestamp())
POINT = {"gsrn": "1", "type": "consumption", "sector": "DK1", "address": "a", "new": None}


class _DataHub(DataHubClient):
    def __init__(self, *pages: list[Any]) -> None:
        super().__init__("http://127.0.0.1:9", tls_verify=True)
        self._total = sum(len(page) for page in pages)
        self._pages = iter(pages)

    def _raw(self, *_: Any) -> bytes:
        page = {"success": True, "total": self._total, "measurements": next(self._pages)}
        return json.dumps(page).encode()


class _EnergyTypes(EnergyTypeClient):
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        super().__init__("http://127.0.0.1:9", tls_verify=True)
        self._answer = rows

    def _ask(self, *_: Any) -> bytes:
        return json.dumps({"success": True, "mix_emissions": self._answer}).encode()


def _consumption(*pages: list[Any]) -> dict[tuple[str, str], dict[int, int]]:
    end = BEGIN + timedelta(hours=1)
    found = read_consumption(_DataHub(*pages), "token", ["1"], BEGIN, end)
    return {place: dict(zip(*each, strict=True)) for place, each in found.items()}


def test_odd_measurements_are_read() -> None:
    assert _consumption(
        [
            POINT | {"begin": "2020-02-29T23:00:00", "amount": 0},
            POINT | {"begin": "2020-02-29T22:00:00Z", "amount": 1000.0},
        ],
        [
            POINT | {"begin": "2020-02-29T23:00:00+01:00", "amount": 1000},
            POINT | {"begin": "2020-03-01T00:00:00Z", "amount": 7},
            POINT | {"begin": "2020-02-29T22:00:00Z", "amount": 7, "gsrn": "2"},
            POINT | {"begin": "2020-02-29T22:00:00Z", "amount": 7, "type": "production"},
        ],
    ) == {("1", "DK1"): {H22: 1000, H22 + 3600: 0}}


@pytest.mark.parametrize("begin", ["", "yesterday", "2020-02-29T25:00:00"])
def test_a_begin_that_is_no_time_is_the_peers_error(begin: str) -> None:
    with pytest.raises(PeerMisbehaved):
        _consumption([POINT | {"begin": begin, "amount": 1}])


@pytest.mark.parametrize("amount", [None, "5", True, -1, -1.0, 0.5, 1e300])
def test_an_amount_that_is_no_whole_number_is_the_peers_error(amount: Any) -> None:
    with pytest.raises(PeerMisbehaved):
        _consumption([POINT | {"begin": "2020-02-29T22:00:00Z", "amount": amount}])


@pytest.mark.parametrize("kind", ["", "Consumption", "s3cr3t"])
def test_an_unknown_type_is_the_peers_error(kind: str) -> None:
    """Rows of production are skipped; this one is not."""
    with pytest.raises(PeerMisbehaved):
        _consumption([POINT | {"begin": "2020-02-29T22:00:00Z", "amount": 1, "type": kind}])


def test_an_odd_mix_is_read() -> None:
    row = {"sector": "DK1", "technology": "Coal", "amount": 10}
    rows: list[dict[str, Any]] = [
        row | {"timestamp_utc": "2020-02-29T23:00:00+00:00", "amount": 0, "CO2": 0},
        row | {"timestamp_utc": "2020-02-29T22:00:00Z", "CO2": 1.5, "share": 0.5, "Xenon": 2},
        row | {"timestamp_utc": "2020-02-29 22:00:00", "amount": 2.5, "CO2": None, "SO2": "1"},
        row | {"timestamp_utc": "2020-02-29T23:00:00+01:00", "technology": "Wind", "CO2": 0.1},
        row | {"timestamp_utc": "2020-03-01T00:00:00Z"},
        row | {"timestamp_utc": "2020-02-29T22:00:00Z", "sector": "SE4"},
    ]
    assert _EnergyTypes(rows).residual_mix(["DK1"], BEGIN, BEGIN + timedelta(hours=1)) == {
        "DK1": Mix(
            {H22: exactly(22.5), H22 + 3600: 0},
            {"Coal": {H22: exactly(12.5), H22 + 3600: 0}, "Wind": {H22: exactly(10)}},
            {"CO2": {H22: exactly(1.6), H22 + 3600: 0}, "Xenon": {H22: exactly(2)}},
        )
    }


@pytest.mark.parametrize(
    "raw",
    [
        b'{"success":true,"mix_emissions":[{"sector":"\xff"}]}',
        (
            b'{"success":true,"mix_emissions":[{"timestamp_utc":"2020-02-29T22:00:00Z","sector":"DK1",'
            b'"technology":"Coal","amount":1e1000000}]}'
        ),
        (
            b'{"success":true,"mix_emissions":[{"timestamp_utc":"2020-02-29T22:00:00Z","sector":"DK1",'
            b'"technology":"Coal","amount":1,"CO2":1e99999999999999999999}]}'
        ),
        (
            b'{"success":true,"mix_emissions":[{"timestamp_utc":"2020-02-29T22:00:00Z","sector":"DK1",'
            b'"technology":"Coal","amount":1,"CO2":1e100}]}'
        ),
        b'{"success":true,"mix_emissions":' + b"[" * 100_000,
        b"[]",
        b"",
    ],
)
def test_an_answer_that_is_no_mix_is_the_peers_error(
    raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = _EnergyTypes([])
    monkeypatch.setattr(client, "_ask", lambda _: raw)
    with pytest.raises(PeerMisbehaved):
        client.residual_mix(["DK1"], BEGIN, BEGIN)


@pytest.mark.parametrize(
    "raw", [b'{"success":true,"total":1,"measurements":[{"gsrn":"\xff"}]}', b"[]", b"", b"{}"]
)
def test_an_answer_that_is_no_page_is_the_peers_error(
    raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = _DataHub()
    monkeypatch.setattr(client, "_raw", lambda *_: raw)
    with pytest.raises(PeerMisbehaved):
        read_consumption(client, "token", ["1"], BEGIN, BEGIN)
