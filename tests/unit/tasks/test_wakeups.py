"""Wake-ups that do for several who want one."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from origin.tasks.wakeups import GATHER_S, Gathering

_STEPS = st.lists(st.tuples(st.floats(0, 2), st.sampled_from([0.0, 0.3, 10.0])), max_size=50)
_HAIR = 1e-9


@given(steps=_STEPS, start=st.floats(0, 1e6))
def test_who_wants_one_gets_one_in_time(steps: list[tuple[float, float]], start: float):
    """Never before it is wanted, `GATHER_S` later at most."""
    gathering, now, sent = Gathering(), start, []
    for pause, delay in steps:
        now += pause
        after = gathering.after_s(now, delay)
        if after is not None:
            assert delay - _HAIR <= after <= delay + GATHER_S + _HAIR
            sent.append(now + after)
        wanted = now + delay
        assert any(wanted - _HAIR <= due <= wanted + GATHER_S + _HAIR for due in sent)


@given(pauses=st.lists(st.floats(0, 0.2), max_size=100))
def test_a_burst_needs_few(pauses: list[float]):
    gathering, now, sent = Gathering(), 0.0, []
    for pause in pauses:
        now += pause
        after = gathering.after_s(now, 0)
        if after is not None:
            sent.append(now + after)
    assert all(later - due >= GATHER_S - _HAIR for due, later in pairwise(sent))
