"""Residual mixes of every legal shape, against a plain sum of the same text."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.declarations.client import residual_mix
from origin.declarations.client.residual_mix import ResidualMixReader, UnreadableMix
from origin.declarations.rules.consumption import Series
from origin.declarations.rules.declarations import ResidualMix
from origin.declarations.rules.exact import ONE
from tests.support.consumption import exactly

H10 = int(datetime(2020, 1, 1, 10, tzinfo=UTC).timestamp())
TIMES = ["2020-01-01T10:00:00Z", "2020-01-01T11:00:00+00:00", "2020-01-01 11:30:00"]
OUTSIDE = "2020-01-01T12:00:00Z"

numbers = st.one_of(
    st.integers(0, 10**15),
    st.decimals(0, 10**9, places=3).map(float),
    st.floats(0, 1e12, allow_subnormal=False),
)
signed = st.one_of(numbers, numbers.map(lambda number: -number))
seldom = st.sampled_from([None, "1", True, []])
rows = st.lists(
    st.fixed_dictionaries(
        {
            "timestamp_utc": st.sampled_from([*TIMES, OUTSIDE]),
            "sector": st.sampled_from(["DK1", "DK2", "SE4"]),
            "technology": st.sampled_from(["Coal", "Wind", "Sol\u00e9r \"'\\"]),
            "amount": numbers,
            "CO2": signed,
            "N²O": numbers,
        },
        optional={"SO2": st.one_of(signed, seldom), "share": seldom},
    ),
    max_size=40,
)
quoted = rows.map(
    lambda some: [
        {'N"2\\O' if name == "N²O" else name: value for name, value in row.items()} for row in some
    ]
)
"""Rows with an emission whose name needs escapes in JSON."""
regular = rows.map(
    lambda some: [{name: row[name] for name in row.keys() - {"SO2", "share"}} for row in some]
)

gappy = rows.map(
    lambda some: [
        {
            name: value
            for name, value in row.items()
            if name != "SO2" or value is None or type(value) in {int, float}
        }
        for row in some
    ]
)


def plainly(answers: Sequence[list[dict[str, Any]]]) -> tuple[Any, Any]:
    """Return Wh and grams by hour and sector, then by name: the sums of the decimals, as fractions."""
    wh: Any = defaultdict(lambda: defaultdict(Fraction))
    grams: Any = defaultdict(lambda: defaultdict(Fraction))
    for answer in answers:
        for row in json.loads(json.dumps(answer), parse_float=Fraction):
            place = (H10 + 3600 * (row["timestamp_utc"] not in TIMES[:1]), row["sector"])
            if row["timestamp_utc"] == OUTSIDE or row["sector"] == "SE4":
                continue
            wh[place][row["technology"]] += row["amount"]
            for name in row.keys() - {"timestamp_utc", "sector", "technology", "amount", "share"}:
                if type(row[name]) in {int, Fraction}:
                    grams[place][name] += row[name]
    return wh, grams


def as_answer(some: list[dict[str, Any]]) -> bytes:
    return json.dumps({"success": True, "mix_emissions": some}).encode()


def by_place(mix: ResidualMix) -> dict[tuple[int, str], tuple[int, dict[str, int], dict[str, int]]]:
    """Return the sum, the Wh of technologies and the g of emissions, by hour and sector."""
    return {
        (hour, sector): (amount, _at(hour, each.technologies), _at(hour, each.emissions))
        for sector, each in mix.items()
        for hour, amount in each.amounts.items()
    }


def _at(hour: int, columns: dict[str, Series]) -> dict[str, int]:
    return {name: series[hour] for name, series in columns.items() if hour in series}


def read(answers: Sequence[list[dict[str, Any]]]) -> ResidualMixReader:
    reader = ResidualMixReader(["DK1", "DK2"])
    for answer in answers:
        reader.add(as_answer(answer), H10, H10 + 2 * 3600)
    return reader


@given(answers=st.lists(st.one_of(rows, quoted, regular, gappy), min_size=1, max_size=4))
def test_all_shapes_come_to_the_plain_sums(answers: list[list[dict[str, Any]]]):
    """Sorted or not, doubled, with columns that are missing, change or hold no numbers."""
    wh, grams = plainly(answers)
    mix = by_place(read(answers).mix)
    assert mix.keys() == wh.keys()
    # Sums are rounded once, to whole units of 10⁻³⁰.
    for place, (amount, technologies, emissions) in mix.items():
        for sums, expected in ((technologies, wh[place]), (emissions, grams[place])):
            assert sums == {name: round(value * ONE) for name, value in expected.items()}
        assert amount == round(sum(wh[place].values()) * ONE)


@given(
    table=st.lists(
        st.tuples(st.integers(0, 10**9), st.integers(-(10**9), 10**9)), min_size=1, max_size=400
    ),
    decimals=st.integers(0, 5),
)
def test_decimals_are_summed_exactly(table: list[tuple[int, int]], decimals: int):
    """To the last digit, in hours with few rows and with many."""
    some = [
        {
            "timestamp_utc": TIMES[0],
            "sector": "DK1",
            "technology": f"T{number % 7}",
            "amount": amount / 10**decimals,
            "CO2": grams / 10**decimals,
        }
        for number, (amount, grams) in enumerate(table)
    ]
    amount, _, emissions = by_place(read([some, some]).mix)[H10, "DK1"]
    unit = ONE // 10**decimals
    assert amount == 2 * unit * sum(amount for amount, _ in table)
    assert emissions == {"CO2": 2 * unit * sum(grams for _, grams in table)}


@pytest.mark.parametrize(
    "change",
    [
        {"amount": -1},
        {"amount": None},
        {"amount": True},
        {"amount": "1"},
        {"amount": 1e41},
        {"amount": 10**41},
        {"CO2": 10**400},
        {"CO2": -1e41},
        {"technology": None},
        {"sector": []},
        {"sector": None},
        {"sector": 1},
        {"timestamp_utc": 5},
        {"timestamp_utc": "yesterday"},
    ],
)
@pytest.mark.parametrize("comes_first", [True, False])
def test_an_invalid_row_makes_the_mix_unreadable(change: dict[str, Any], comes_first: bool):
    row = {
        "timestamp_utc": TIMES[0],
        "sector": "DK1",
        "technology": "Coal",
        "amount": 1,
        "CO2": 1.5,
    }
    odd = [row, row | change]
    with pytest.raises(UnreadableMix) as raised:
        read([odd] if comes_first else [[row], odd])
    assert str(raised.value).isidentifier()


def test_large_amounts_and_quotients_keep_their_decimals():
    numbers = [2000000000.3, 12345678.1234567, 1234567890.12, 1e12 + 0.1, 1 / 3]
    some = [
        {"timestamp_utc": TIMES[0], "sector": "DK1", "technology": f"T{place}", "amount": number}
        for place, number in enumerate(numbers)
    ]
    expected = [Fraction(repr(number)) * ONE for number in numbers]
    for times in (1, 2):
        _, technologies, _ = by_place(read([some] * times).mix)[H10, "DK1"]
        assert list(technologies.values()) == [times * value for value in expected]


def test_sums_beyond_what_floats_can_tell_are_exact():
    """Thousands of numbers of fourteen digits, whose sum no float can hold."""
    some = [
        {
            "timestamp_utc": TIMES[number // 4500],
            "sector": "DK1",
            "technology": "Coal",
            "amount": 60_000_000_000.123 + number,
            "CO2": 0.001 - number * 60_000_000,
        }
        for number in range(9000)
    ]
    mix = by_place(read([some]).mix)
    wh, grams = plainly([some])
    for place, (amount, _, emissions) in mix.items():
        assert {"Coal": Fraction(amount, ONE)} == wh[place]
        assert {"CO2": Fraction(emissions["CO2"], ONE)} == grams[place]
    assert len(mix) == 2


@pytest.mark.parametrize("kind", ["technology", "emission"])
def test_a_mix_with_a_thousand_names_is_unreadable(kind: str):
    """Each name would be a column of all hours."""
    some = [
        {
            "timestamp_utc": TIMES[0],
            "sector": "DK1",
            "technology": f"T{number}" if kind == "technology" else "Coal",
            "amount": 1,
            f"E{number}" if kind == "emission" else "CO2": 1.5,
        }
        for number in range(1000)
    ]
    assert len(read([some[:300]]).mix["DK1"].amounts) == 1
    with pytest.raises(UnreadableMix):
        read([some])


@given(st.one_of(signed, st.floats(-1e30, 1e30), st.decimals(-(10**20), 10**20, places=15)))
def test_numbers_stand_for_the_decimals_that_are_written(number: float | Decimal):
    """Up to thirty decimals."""
    assert exactly(number) == round(Fraction(str(number)) * ONE)


def test_other_greenlets_run_between_rows(monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []
    monkeypatch.setattr(residual_mix, "_ROWS_WITHOUT_A_PAUSE", 7)
    monkeypatch.setattr(residual_mix.time, "sleep", pauses.append)
    row = {"timestamp_utc": TIMES[0], "sector": "DK1", "technology": "Coal", "amount": 1}
    mix = read([[row] * 20]).mix
    assert len(pauses) == 3
    assert mix["DK1"].amounts == {H10: 20 * ONE}


def test_gaps_and_new_columns():
    """Emissions that some rows lack or have as null, and one that a later answer adds."""
    some = [
        {
            "timestamp_utc": TIMES[number // 10],
            "sector": "DK1",
            "technology": f"T{number}",
            "amount": 1,
            **({"CO2": number} if number % 3 else {}),
            "CH4": None if number % 2 else 0.5,
        }
        for number in range(20)
    ]
    answers = [some, [row | {"NOx": 0.25} for row in some]]
    wh, grams = plainly(answers)
    for place, (amount, _, emissions) in by_place(read(answers).mix).items():
        assert amount == sum(wh[place].values()) * ONE
        assert {name: Fraction(value, ONE) for name, value in emissions.items()} == grams[place]
