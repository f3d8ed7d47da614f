"""The rules of compose, also with generated orders."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.compose.rules import (
    ConsumptionPoint,
    HeadroomExceeded,
    Measurement,
    Order,
    PartKind,
    Recipient,
    Retire,
    Source,
    Transfer,
    check_headroom,
    check_measurements,
    check_order,
    is_whole_retire,
    parts_of,
)
from origin.errors import Rejected
from origin.web.errors import worded

NOW = datetime(2020, 2, 1, tzinfo=UTC)
BEGIN = datetime(2020, 1, 1, 12, tzinfo=UTC)
SOURCE = Source(
    id=1,
    owner_id=10,
    address="source",
    amount=1000,
    begin=BEGIN,
    end=BEGIN + timedelta(hours=1),
    sector="DK1",
    expire_time=NOW + timedelta(seconds=1),
    stored=True,
    retired=False,
    locked=False,
    key_mismatch=False,
)
RECIPIENTS = {"me": Recipient(10, disabled=False), "you": Recipient(11, disabled=False)}
POINTS = {gsrn: ConsumptionPoint(number, gsrn) for number, gsrn in enumerate(["p1", "p2"])}


def measured(gsrn: str, amount: int = 10**6) -> Measurement:
    return Measurement(
        address=f"measurement of {gsrn}",
        gsrn=gsrn,
        begin=SOURCE.begin,
        end=SOURCE.end,
        sector="DK1",
        amount=amount,
        is_consumption=True,
        has_derived_address=True,
    )


MEASUREMENTS = {gsrn: measured(gsrn) for gsrn in POINTS}

amounts = st.integers(1, 500)
orders = st.builds(
    Order,
    address=st.just("source"),
    transfers=st.lists(st.builds(Transfer, amounts, st.sampled_from(["me", "you"])), max_size=4),
    retires=st.lists(st.builds(Retire, amounts, st.sampled_from(["p1", "p2"])), max_size=4),
)


@given(order=orders, spare=st.integers(0, 3))
def test_parts_sum_to_the_source_in_the_contracts_order(order: Order, spare: int):
    """Transfers in order, the remainder if there is one, then retires in order."""
    if not order.amount:
        return
    source = replace(SOURCE, amount=order.amount + spare)
    check_order(order, source, RECIPIENTS, POINTS, NOW)
    parts = parts_of(order, source, RECIPIENTS, MEASUREMENTS)
    assert sum(part.amount for part in parts) == source.amount
    kinds = [part.kind for part in parts]
    remainder = [PartKind.REMAINDER] if spare else []
    transfers = [PartKind.TRANSFER] * len(order.transfers)
    assert kinds == [*transfers, *remainder, *[PartKind.RETIRE] * len(order.retires)]
    given_amounts = [wish.amount for wish in (*order.transfers, *order.retires)]
    assert [part.amount for part in parts if part.kind is not PartKind.REMAINDER] == given_amounts
    assert all(part.owner_id == source.owner_id for part in parts[len(transfers) :])
    assert is_whole_retire(parts) == (kinds == [PartKind.RETIRE])


@given(order=orders, limits=st.tuples(st.integers(0, 900), st.integers(0, 900)), done=amounts)
def test_no_more_is_retired_than_measured(order: Order, limits: tuple[int, int], done: int):
    measurements = {gsrn: measured(gsrn, limit) for gsrn, limit in zip(POINTS, limits, strict=True)}
    already = {measurements["p1"].address: done}
    asked = Counter[str]()
    for retire in order.retires:
        asked[retire.gsrn] += retire.amount
    room = {gsrn: each.amount - already.get(each.address, 0) for gsrn, each in measurements.items()}
    fits = all(amount <= room[gsrn] for gsrn, amount in asked.items())
    try:
        check_headroom(order, measurements, already)
    except Rejected:
        assert not fits
    else:
        assert fits


def test_a_ggo_that_was_never_sent_is_tradable_only_without_a_ledger():
    order = Order("source", transfers=[Transfer(1, "you")])
    source = replace(SOURCE, never_sent=True)
    assert message_of(order, source) == "GGO not found or is unavailable: source"
    facts = {"recipients": RECIPIENTS, "points": POINTS, "now": NOW}
    assert check_order(order, source, **facts, ledger_enabled=False) is source


def message_of(order: Order, source: Source | None = SOURCE, **changes: object) -> object:
    facts = {"recipients": RECIPIENTS, "points": POINTS, "now": NOW, **changes}
    with pytest.raises(Rejected) as raised:
        check_order(order, source, **facts)
    return worded(raised.value).message


TRANSFER = Order("source", transfers=[Transfer(1000, "you")])


def test_an_empty_order():
    assert message_of(Order("source")) == "Nothing to transfer/retire"


def test_more_than_the_ggo_has():
    order = Order("source", [Transfer(600, "you")], [Retire(401, "p1")])
    assert message_of(order) == "Requested amount exceeds available amount"


def test_an_unknown_account_is_named_under_its_field():
    order = Order("source", [Transfer(1, "you"), Transfer(1, "nobody")])
    expected = {"transfers": {"1": {"account": ["No user exists with subject: nobody"]}}}
    assert message_of(order) == expected


def test_a_disabled_account():
    recipients = {"you": Recipient(11, disabled=True)}
    assert message_of(TRANSFER, recipients=recipients) == "Account unavailable (you)"


@pytest.mark.parametrize(
    "source",
    [
        None,
        replace(SOURCE, stored=False),
        replace(SOURCE, stored=False, retired=True),
        replace(SOURCE, locked=True),
        replace(SOURCE, key_mismatch=True),
        replace(SOURCE, expire_time=NOW),
    ],
    ids=["foreign", "spent", "retired", "locked", "key mismatch", "expired this second"],
)
def test_a_ggo_that_is_not_tradable(source: Source | None):
    assert message_of(TRANSFER, source) == "GGO not found or is unavailable: source"


def test_a_point_that_is_not_the_callers_consumption():
    order = Order("source", retires=[Retire(1, "other")])
    assert message_of(order) == "MeteringPoint unavailable (GSRN: other)"


def test_no_measurement():
    order = Order("source", retires=[Retire(1, "p1")])
    with pytest.raises(Rejected) as raised:
        check_measurements(order, SOURCE, {"p1": None})
    begin = "2020-01-01T12:00:00+00:00"
    assert worded(raised.value).message == f"No measurement available at {begin} for GSRN p1"


@pytest.mark.parametrize(
    "change",
    [
        {"sector": "DK2"},
        {"begin": BEGIN + timedelta(minutes=15)},
        {"end": BEGIN + timedelta(minutes=15)},
        {"gsrn": "p2"},
        {"is_consumption": False},
        {"has_derived_address": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_measurement_that_does_not_fit(change: dict[str, object]):
    order = Order("source", retires=[Retire(1, "p1")])
    with pytest.raises(Rejected) as raised:
        check_measurements(order, SOURCE, {"p1": replace(measured("p1"), **change)})
    assert worded(raised.value).message == "Can not retire GGO to measurement measurement of p1"


def test_the_headroom_is_in_the_message():
    order = Order("source", retires=[Retire(30, "p1"), Retire(31, "p1")])
    measurement = measured("p1", 100)
    with pytest.raises(Rejected) as raised:
        check_headroom(order, {"p1": measurement}, {measurement.address: 40})
    assert worded(raised.value).message == "Can only retire up to 30 (you tried to retire 31)"


def test_the_headroom_is_zero_after_a_measurement_was_corrected_downwards():
    measurement = measured("p1", 10)
    with pytest.raises(HeadroomExceeded) as raised:
        check_headroom(
            Order("source", retires=[Retire(1, "p1")]),
            {"p1": measurement},
            {measurement.address: 11},
        )
    assert raised.value.headroom == 0
