"""The rules of DataHub's events."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.intake.rules.events import (
    GgoEvent,
    GgoFault,
    GgoImpossible,
    MeteringPointEvent,
    digest,
    ggo_from_payload,
    metering_point_from_payload,
    to_payload,
)
from origin.keys.derivation import master_key, metering_point_key, period_key

EVENT = GgoEvent(
    address="849c0b",
    gsrn="5713",
    begin=datetime(2020, 1, 1, 12, tzinfo=UTC),
    end=datetime(2020, 1, 1, 13, tzinfo=UTC),
    sector="DK1",
    amount=1,
    issue_time=datetime(2020, 1, 2, tzinfo=UTC),
    expire_time=datetime(2030, 1, 1, tzinfo=UTC),
    technology_code="T010000",
    fuel_code="F01040100",
    emissions={"CO2": 0.5},
)

times = st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1))  # noqa: DTZ001
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
events = st.builds(
    GgoEvent,
    address=names,
    gsrn=names,
    begin=times,
    end=times,
    sector=names,
    amount=st.integers(1, 2**63 - 1),
    issue_time=times,
    expire_time=times,
    technology_code=names,
    fuel_code=names,
    emissions=st.none() | st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False)),
)


def _faults(**changes: Any) -> Mapping[str, GgoFault]:
    with pytest.raises(GgoImpossible) as raised:
        dataclasses.replace(EVENT, **changes).check()
    return raised.value.faults


def test_a_right_event_passes() -> None:
    EVENT.check()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("amount", {"amount": 0}),
        ("technologyCode", {"technology_code": ""}),
        ("fuelCode", {"fuel_code": ""}),
        ("end", {"end": EVENT.begin}),
        ("begin", {"begin": datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)}),
    ],
)
def test_a_wrong_field_is_named(name: str, changes: dict[str, Any]) -> None:
    assert list(_faults(**changes)) == [name]


def test_all_wrong_fields_are_named() -> None:
    assert set(_faults(amount=-1, technology_code="", fuel_code="")) == {
        "amount",
        "technologyCode",
        "fuelCode",
    }


def test_the_last_begin_is_before_2038_01_19() -> None:
    edge = datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)
    later = edge + timedelta(hours=1)
    assert list(_faults(begin=edge, end=later)) == ["begin"]
    dataclasses.replace(EVENT, begin=edge - timedelta(microseconds=1), end=later).check()


@given(events)
def test_every_event_that_passes_has_a_key(event: GgoEvent) -> None:
    try:
        event.check()
    except GgoImpossible:
        return
    assert period_key(metering_point_key(master_key(bytes(32)), 0), event.begin)


@given(events)
def test_a_kept_ggo_is_read_back_unchanged(event: GgoEvent) -> None:
    assert ggo_from_payload(orjson.loads(orjson.dumps(to_payload(event)))) == event


@given(st.builds(MeteringPointEvent, gsrn=names, type=names, sector=names))
def test_a_kept_metering_point_is_read_back_unchanged(event: MeteringPointEvent) -> None:
    assert metering_point_from_payload(orjson.loads(orjson.dumps(to_payload(event)))) == event


def test_a_repeat_has_the_same_digest() -> None:
    reordered = dataclasses.replace(EVENT, emissions={"SO2": 1.0, "CO2": 0.5})
    same = dataclasses.replace(EVENT, emissions={"CO2": 0.5, "SO2": 1.0})
    assert digest("ggo", "alice", reordered) == digest("ggo", "alice", same)
    assert digest("ggo", "alice", same) != digest("ggo", "bob", same)
    assert digest("ggo", "alice", same) != digest("ggo", "alice", EVENT)


def test_all_events_of_a_metering_point_have_one_digest() -> None:
    point = MeteringPointEvent("1", "production", "DK1")
    corrected = MeteringPointEvent("1", "consumption", "DK2")
    assert digest("metering_point", "alice", point) == digest("metering_point", "alice", corrected)
    assert digest("metering_point", "alice", point) != digest("metering_point", "bob", point)
