"""Merging wake-ups: one serves several callers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from origin.tasks.wakeups import MERGE_S, WakeupMerger

_STEPS = st.lists(st.tuples(st.floats(0, 2), st.sampled_from([0.0, 0.3, 10.0])), max_size=50)
_TOLERANCE = 1e-9


@given(steps=_STEPS, start=st.floats(0, 1e6))
def test_every_caller_gets_a_wake_up_in_time(steps: list[tuple[float, float]], start: float):
    """Never before it is wanted, and `MERGE_S` later at most."""
    merger, now, sent = WakeupMerger(), start, []
    for pause, delay in steps:
        now += pause
        after = merger.after_s(now, delay)
        if after is not None:
            assert delay - _TOLERANCE <= after <= delay + MERGE_S + _TOLERANCE
            sent.append(now + after)
        wanted = now + delay
        assert any(wanted - _TOLERANCE <= due <= wanted + MERGE_S + _TOLERANCE for due in sent)


@given(pauses=st.lists(st.floats(0, 0.2), max_size=100))
def test_a_burst_needs_few_wake_ups(pauses: list[float]):
    merger, now, sent = WakeupMerger(), 0.0, []
    for pause in pauses:
        now += pause
        after = merger.after_s(now, 0)
        if after is not None:
            sent.append(now + after)
    assert all(later - due >= MERGE_S - _TOLERANCE for due, later in pairwise(sent))
