"""Valid and invalid rows of DataHub's responses (contract: peers, DataHubService)."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from origin.errors import PeerMisbehaved
from origin.peers.datahub import DataHubClient, DataHubGgo, DataHubTechnology, ParsedRows
from tests.support.recording_server import recording_server

GGO = {
    "address": "849c0b",
    "gsrn": "571313180400000012",
    "begin": "2020-01-01T12:00:00Z",
    "end": "2020-01-01T13:00:00Z",
    "sector": "DK1",
    "amount": 100,
    "issueTime": "2020-01-02T00:00:00Z",
    "expireTime": "2050-01-01T00:00:00Z",
}
NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)


class _DataHub(DataHubClient):
    def __init__(self, **answer: Any) -> None:
        super().__init__("http://127.0.0.1:9", tls_verify=True)
        self._answer = answer

    def _call(self, *_: Any) -> dict[str, Any]:
        return {"success": True, **self._answer}


def _ggos(*rows: Any) -> ParsedRows[DataHubGgo]:
    return _DataHub(ggos=list(rows)).ggos("token", "gsrn", NOON, NOON)


@pytest.mark.parametrize(
    "begin",
    [
        "2020-01-01T12:00:00Z",
        "2020-01-01T12:00:00z",
        "2020-01-01T12:00:00+00:00",
        "2020-01-01T12:00:00.000000000Z",
        "2020-01-01T12:00:00",
        "2020-01-01 12:00",
        "2020-01-01T12:00Z",
        "2020-01-01T13:00:00+01:00",
        "2020-01-01T13:00+0100",
    ],
)
def test_times(begin: str) -> None:
    [ggo] = _ggos(GGO | {"begin": begin}).valid
    assert (ggo.begin, ggo.begin.utcoffset()) == (NOON, timedelta(0))


@pytest.mark.parametrize(
    "fields",
    [
        {"new": "field"},
        {"technologyCode": None, "fuelCode": None, "emissions": None},
        {"technologyCode": "T010000", "fuelCode": "x" * 255},
        {"emissions": {}},
        {"emissions": {"CO2": 1, "CH4": -0.5, "N2O": 1e12}},
        {"amount": 0},
        {"amount": 2**63 - 1},
        {"begin": "0001-01-01T00:00:00", "end": "9999-12-31T23:59:59.999999"},
    ],
)
def test_documented_ggos_are_valid(fields: dict[str, Any]) -> None:
    found = _ggos(GGO | fields)
    assert (len(found.valid), found.invalid) == (1, [])
    taken = found.valid[0].emissions
    assert taken == fields.get("emissions")
    assert all(type(grams) is float for grams in (taken or {}).values())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("address", value) for value in ("", "s3cr3t\0", "x" * 256, 5, None, ["s3cr3t"])),
        *(("amount", value) for value in (-1, 2**63, 1000.0, True, "7", None)),
        *(("technologyCode", value) for value in ("", 5, "\0")),
        *(("emissions", value) for value in ("s3cr3t", ["s3cr3t"], {"": 1}, {"s3cr3t\0": 1})),
        *(("emissions", {"s3cr3t": grams}) for grams in (1.1e12, "1", True, None, [1], 10**400)),
        *(("emissions", {"s3cr3t": float(grams)}) for grams in ("inf", "-inf", "nan")),
        *(("begin", value) for value in ("s3cr3t", "", None, 1577880000, {"s3cr3t": 1})),
        *(("end", value) for value in ("9999-12-31T23:59:59-10:00", "2020-02-30T00:00:00Z")),
        ("issueTime", "0001-01-01T00:00:00+10:00"),
    ],
)
def test_an_invalid_row_names_its_field_and_does_not_affect_others(field: str, value: Any) -> None:
    found = _ggos(GGO, GGO | {field: value}, GGO)
    assert len(found.valid) == 2
    [told] = found.invalid
    assert told.startswith(f"row 1: /ggo: unexpected {field}")
    assert "s3cr3t" not in told


@pytest.mark.parametrize("field", GGO)
def test_a_row_without_a_required_field_is_invalid(field: str) -> None:
    row = {name: value for name, value in GGO.items() if name != field}
    assert _ggos(row).invalid == [f"row 0: /ggo: unexpected {field}"]


@pytest.mark.parametrize("row", [None, [], "s3cr3t", 7])
def test_a_row_that_is_no_object_is_invalid(row: Any) -> None:
    assert _ggos(row).invalid == ["row 0: /ggo: unexpected answer"]


def test_metering_points() -> None:
    point = {"gsrn": "1", "type": "production", "sector": "DK1", "begin": "new", "cityName": None}
    odd = point | {"type": "s3cr3t"}
    found = _DataHub(meteringpoints=[point, odd]).metering_points("token")
    assert [(each.gsrn, each.type, each.sector) for each in found.valid] == [
        ("1", "production", "DK1")
    ]
    assert found.invalid == ["row 1: /meteringpoints: unexpected type"]


def test_technologies() -> None:
    label = {"technology": "Wind", "technologyCode": "T020001", "fuelCode": "F01050100"}
    assert _DataHub(technologies=[label | {"new": 1}]).technologies() == [
        DataHubTechnology(**label)
    ]
    for technologies in (None, {}, [None], [label | {"technology": 5}], [label, {}]):
        with pytest.raises(PeerMisbehaved, match="/technologies: unexpected technolog") as raised:
            _DataHub(technologies=technologies).technologies()
        assert raised.value.__cause__ is None


def test_calls_without_a_body_send_none() -> None:
    with recording_server() as recorder:
        datahub = DataHubClient(recorder.url, tls_verify=True)
        for call in (datahub.technologies, partial(datahub.metering_points, "token")):
            with pytest.raises(PeerMisbehaved):
                call()
    assert [each.body for each in recorder.requests] == [b"", b""]
    assert not any("content-type" in each.headers for each in recorder.requests)
