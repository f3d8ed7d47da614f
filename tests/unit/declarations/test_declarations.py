"""The arithmetic of declarations, against the contract's example and a second, plain computation."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.declarations.rules.consumption import RetiredGgo
from origin.declarations.rules.declarations import (
    DeclarationQuery,
    HourlyDeclarations,
    Mix,
    ResidualMix,
    by_resolution,
    declare,
)
from origin.declarations.rules.exact import whole
from origin.declarations.views import as_json, written
from origin.shared.periods import Resolution
from tests.support.consumption import exactly, measured

BEGIN = datetime(2020, 1, 1, 10, tzinfo=UTC)
H10 = int(BEGIN.timestamp())
H11 = H10 + 3600
TEN, ELEVEN = "2020-01-01T10:00:00+00:00", "2020-01-01T11:00:00+00:00"


def mix_of(*rows: tuple[int, str, str, float, dict[str, float]]) -> ResidualMix:
    mix: ResidualMix = {}
    for hour, sector, technology, amount, emissions in rows:
        grams = {name: exactly(value) for name, value in emissions.items()}
        mix.setdefault(sector, Mix()).add(hour, technology, exactly(amount), grams)
    return mix


EXAMPLE_MIX = mix_of(
    (H10, "DK1", "Coal", 1000, {"CO2": 500}),
    (H10, "DK1", "Wind", 1000, {"CH4": 10}),
    (H11, "DK1", "Coal", 1000, {"CO2": 600}),
)
EXAMPLE = measured({("1", "DK1"): {H11: 200, H10: 100}})
WIND = RetiredGgo("1", H10, 40, "Wind", {"CO2": Decimal("0.1"), "SO2": 1})


def wire(
    hours: HourlyDeclarations, resolution: Resolution = Resolution.HOUR, offset: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    query = DeclarationQuery((), BEGIN, BEGIN, resolution, timedelta(hours=offset))
    answer = as_json(by_resolution(query, hours))
    return answer["individual"], answer["general"]


def test_the_worked_example() -> None:
    individual, general = wire(declare(EXAMPLE, [WIND], EXAMPLE_MIX, {"DK1"}))
    assert individual == {
        "emissions": {
            TEN: {"CO2": 19, "CH4": 0.3, "SO2": 40},
            ELEVEN: {"CO2": 120, "CH4": 0, "SO2": 0},
        },
        "emissionsPerWh": {
            TEN: {"CO2": 0.19, "CH4": 0.003, "SO2": 0.4},
            ELEVEN: {"CO2": 0.6, "CH4": 0, "SO2": 0},
        },
        "consumedAmount": {TEN: 100, ELEVEN: 200},
        "retiredAmount": {TEN: 40, ELEVEN: 0},
        "technologies": {TEN: {"Wind": 70, "Coal": 30}, ELEVEN: {"Coal": 200}},
        "totalEmissions": {"CO2": 139, "CH4": 0.3, "SO2": 40},
        "totalEmissionsPerWh": {"CO2": 139 / 300, "CH4": 0.001, "SO2": 40 / 300},
        "totalConsumedAmount": 300,
        "totalRetiredAmount": 40,
        "totalTechnologies": {"Wind": 70, "Coal": 230},
    }
    assert general["totalEmissions"] == {"CO2": 1100, "CH4": 10}
    assert general["emissions"][ELEVEN] == {"CO2": 600, "CH4": 0}
    assert (general["totalConsumedAmount"], general["totalRetiredAmount"]) == (3000, 0)
    assert general["totalTechnologies"] == {"Coal": 2000, "Wind": 1000}


def test_absurd_amounts_are_answered_too() -> None:
    """They exceed 64 bits."""
    found = declare(
        measured({("1", "DK1"): {H10: 2**63 - 1}}),
        [],
        mix_of((H10, "DK1", "Coal", 1e20, {})),
        {"DK1"},
    )
    query = DeclarationQuery((), BEGIN, BEGIN, Resolution.HOUR, timedelta(0))
    answer = json.loads(written(by_resolution(query, found)))
    assert answer["success"] is True
    assert answer["individual"]["totalConsumedAmount"] == 2**63 - 1
    assert answer["general"]["technologies"] == {TEN: {"Coal": 10**20}}


def test_gaps() -> None:
    consumption = measured(
        {
            ("1", "DK1"): {H10 + 3600 * hour: 100 for hour in range(6)},
            ("2", "DK2"): {H10 + 3600 * 2: 5},
        }
    )
    # The mix begins an hour late and ends an hour early; DK2 has none where it is consumed;
    # the hour that is retired in full needs none.
    rows = [(H10 + 3600 * hour, "DK1", "Coal", 10, {"CO2": 1.0}) for hour in (1, 2, 4)]
    retired = [RetiredGgo("1", H10 + 3600 * hour, 100, None, None) for hour in (0, 3)]
    found = declare(consumption, retired, mix_of(*rows), {"DK1", "DK2"})
    assert found.hours == [H10 + 3600 * hour for hour in (1, 3, 4)]
    assert found.left_out == [H10 + 3600 * 2]
    individual, general = wire(found)
    assert individual["totalTechnologies"] == {"Coal": 200, "Unknown": 100}
    assert general["totalConsumedAmount"] == 20

    nothing, _ = wire(declare(consumption, retired, {}, {"DK1"}), Resolution.ALL)
    assert (nothing["consumedAmount"], nothing["totalEmissions"]) == ({}, {})
    assert nothing["totalConsumedAmount"] == 0


def test_retired_counts_up_to_the_measured_in_the_order_of_retiring() -> None:
    retired = [
        RetiredGgo("1", H10, 70, "Wind", {"CO2": 0}),
        RetiredGgo("1", H10, 70, "Coal", {"CO2": 1}),
        RetiredGgo("1", H10, 70, "Oil", {"CO2": 9}),
        RetiredGgo("1", H10 - 3600, 1, "Oil", None),
        RetiredGgo("other", H10, 1, "Oil", None),
    ]
    found = declare(measured({("1", "DK1"): {H10: 100}}), retired, EXAMPLE_MIX, {"DK1"})
    individual, _ = wire(found)
    assert individual["totalTechnologies"] == {"Wind": 70, "Coal": 30}
    assert individual["totalEmissions"] == {"CO2": 30, "CH4": 0}
    assert individual["totalRetiredAmount"] == 100
    assert found.exceeded == [("1", H10), ("1", H10 - 3600), ("other", H10)]


def test_quarters_of_an_hour_belong_to_their_hour() -> None:
    quarters = {H10 + 900 * number: 25 for number in range(4)}
    retired = [RetiredGgo("1", H10 + 900, 25, "Wind", {})]
    consumption = measured({("1", "DK1"): quarters})
    individual, general = wire(declare(consumption, retired, EXAMPLE_MIX, {"DK1"}))
    assert individual["consumedAmount"] == {TEN: 100}
    assert individual["technologies"] == {TEN: {"Wind": 62.5, "Coal": 37.5}}
    assert general["consumedAmount"] == {TEN: 2000}


@pytest.mark.parametrize(
    ("resolution", "offset", "begins"),
    [
        (Resolution.ALL, 1, ["2020-01-01T11:00:00+01:00"]),
        (Resolution.YEAR, 0, ["2020-01-01T00:00:00+00:00", "2021-01-01T00:00:00+00:00"]),
        (
            Resolution.MONTH,
            1,
            [f"2020-{m:02}-01T00:00:00+01:00" for m in range(1, 13)]
            + ["2021-01-01T00:00:00+01:00"],
        ),
    ],
)
def test_periods_by_local_time(resolution: Resolution, offset: int, begins: list[str]) -> None:
    hours = {H10 + 3600 * hour: 1 for hour in range(366 * 24)}
    mix = mix_of(*((hour, "DK1", "Coal", 1, {}) for hour in hours))
    found = declare(measured({("1", "DK1"): hours}), [], mix, {"DK1"})
    individual, _ = wire(found, resolution, offset)
    assert list(individual["consumedAmount"]) == begins
    assert sum(individual["consumedAmount"].values()) == 366 * 24
    if resolution is Resolution.MONTH:
        assert individual["consumedAmount"]["2020-02-01T00:00:00+01:00"] == 29 * 24


def test_halves_are_rounded_to_even() -> None:
    assert [whole(exactly(number)) for number in (0.5, 1.5, 2.5, -0.5, 2.4999, 2.5001)] == [
        0, 2, 2, 0, 2, 3
    ]  # fmt: skip
    assert whole(3 * (exactly(1) // 6)) == 0
    assert whole(9 * (exactly(1) // 6)) == 2


_AMOUNTS = st.integers(0, 5000)
_GRAMS = st.integers(0, 10**9).map(lambda number: Decimal(number) / 10**4)
_HOURS = st.integers(0, 4)
_SECTORS = st.sampled_from(["DK1", "DK2"])
_EMISSIONS = st.dictionaries(st.sampled_from(["CO2", "CH4", "NOx"]), _GRAMS, max_size=3)
_LABELS = st.sampled_from(["Coal", "Wind", "Solar"])


@given(
    amounts=st.dictionaries(st.tuples(st.sampled_from(["a", "b", "c"]), _HOURS), _AMOUNTS),
    retired=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), _HOURS, _AMOUNTS, _LABELS, _EMISSIONS),
        max_size=8,
    ),
    rows=st.lists(
        st.tuples(_HOURS, _SECTORS, _LABELS, st.one_of(_AMOUNTS, _GRAMS), _EMISSIONS), max_size=16
    ),
)
def test_the_same_as_by_fractions(
    amounts: dict[tuple[str, int], int], retired: list[Any], rows: list[Any]
) -> None:
    sector_of = {"a": "DK1", "b": "DK1", "c": "DK2"}
    consumption: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for (gsrn, hour), amount in amounts.items():
        consumption[gsrn, sector_of[gsrn]][hour * 3600] = amount
    found = declare(
        measured(consumption),
        [RetiredGgo(gsrn, hour * 3600, *rest) for gsrn, hour, *rest in retired],
        mix_of(*((hour * 3600, *rest) for hour, *rest in rows)),
        ["DK1", "DK2"],
    )
    expected = _by_fractions(amounts, retired, rows, sector_of)
    for ours, theirs in zip(wire(found), expected, strict=True):
        totals: dict[str, Any] = {"emissions": defaultdict(Fraction), "tech": defaultdict(Fraction)}
        assert len(ours["emissions"]) == len(theirs)
        for hour, plain in theirs.items():
            key = datetime.fromtimestamp(hour * 3600, UTC).isoformat()
            assert ours["consumedAmount"][key] == float(plain["consumed"])
            assert ours["retiredAmount"][key] == plain["retired"]
            for kind, sums in (("emissions", "emissions"), ("technologies", "tech")):
                there = {name: value for name, value in ours[kind][key].items() if value}
                assert there == {n: float(v) for n, v in plain[sums].items() if v}
                for name, value in plain[sums].items():
                    totals[sums][name] += value
        consumed = sum((plain["consumed"] for plain in theirs.values()), Fraction())
        assert ours["totalConsumedAmount"] == round(consumed)
        assert ours["totalEmissions"] == {
            name: float(totals["emissions"][name]) for name in ours["totalEmissions"]
        }
        assert ours["totalEmissionsPerWh"] == {
            name: float(totals["emissions"][name] / consumed) if consumed else 0
            for name in ours["totalEmissions"]
        }
        assert {n: v for n, v in ours["totalTechnologies"].items() if v} == {
            name: round(value) for name, value in totals["tech"].items() if round(value)
        }


Plain = dict[str, Any]


def _by_fractions(
    amounts: dict[tuple[str, int], int],
    retired: list[Any],
    rows: list[Any],
    sector_of: dict[str, str],
) -> tuple[dict[int, Plain], dict[int, Plain]]:
    """Compute the contract's sentences one by one, in fractions."""
    mix: dict[tuple[int, str], Plain] = defaultdict(_nothing)
    for hour, sector, label, amount, emissions in rows:
        there = mix[hour, sector]
        there["consumed"] += Fraction(str(amount))
        there["tech"][label] += Fraction(str(amount))
        _increase(there["emissions"], emissions)
    covered = [hour for (hour, _), there in mix.items() if there["consumed"]]
    individual, general = {}, {}
    for hour in sorted({hour for _, hour in amounts}):
        if not covered or not min(covered) <= hour <= max(covered):
            continue
        own = _nothing()
        points = [gsrn for gsrn in sector_of if (gsrn, hour) in amounts]
        if not all(
            _point(
                own,
                amounts[gsrn, hour],
                [r[2:] for r in retired if r[:2] == (gsrn, hour)],
                mix[hour, sector_of[gsrn]],
            )
            for gsrn in points
        ):
            continue
        individual[hour], general[hour] = own, _nothing()
        for sector in ("DK1", "DK2"):
            general[hour]["consumed"] += mix[hour, sector]["consumed"]
            _increase(general[hour]["tech"], mix[hour, sector]["tech"])
            _increase(general[hour]["emissions"], mix[hour, sector]["emissions"])
    return individual, general


def _nothing() -> Plain:
    return {
        "consumed": Fraction(),
        "retired": 0,
        "emissions": defaultdict(Fraction),
        "tech": defaultdict(Fraction),
    }


def _point(own: Plain, amount: int, retired: list[Any], mix: Plain) -> bool:
    """Add a point's hour; return whether its rest is covered."""
    own["consumed"] += amount
    rest = amount
    for wh, label, emissions in retired:
        used = min(wh, rest)
        rest -= used
        own["retired"] += used
        own["tech"][label] += used
        _increase(own["emissions"], emissions, Fraction(used))
    if rest and mix["consumed"]:
        _increase(own["tech"], mix["tech"], rest / mix["consumed"])
        _increase(own["emissions"], mix["emissions"], rest / mix["consumed"])
    return not rest or bool(mix["consumed"])


def _increase(sums: Any, values: Any, times: Fraction = Fraction(1)) -> None:
    for name, value in values.items():
        sums[name] += Fraction(str(value)) * times
