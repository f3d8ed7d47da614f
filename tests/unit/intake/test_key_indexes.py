"""The key index of a metering point that a restored database has forgotten."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from origin.intake.rules.key_indexes import point_candidates, proven_index
from origin.keys.derivation import AddressKind, master_key, metering_point_key, period_key

KEY = master_key(bytes(range(32)))
BEGIN = datetime(2020, 1, 1, 12, tzinfo=UTC)


@given(index=st.integers(0, 12), used=st.sets(st.integers(0, 12), max_size=8))
def test_an_address_proves_its_index_and_no_index_is_given_twice(index: int, used: set[int]):
    address = period_key(metering_point_key(KEY, index), BEGIN).address(AddressKind.MEASUREMENT)
    candidates = list(point_candidates(used, 5, reach=10, margin=100))
    assert not used & set(candidates)
    assert len(candidates) == len(set(candidates))
    assert set(range(15)) - used == set(candidates) & set(range(15))
    # An earlier recovery would have moved the counter to here.
    assert max(used | {4}) + 101 in candidates
    found = proven_index(KEY, AddressKind.MEASUREMENT, BEGIN, address, candidates)
    assert found == (None if index in used else index)
    other = address.replace(address[-1], "0" if address[-1] != "0" else "1")
    assert proven_index(KEY, AddressKind.MEASUREMENT, BEGIN, other, candidates) is None
