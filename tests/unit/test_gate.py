"""The gate in front of the batches' task."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from origin.tasks.gate import Gate


def test_what_finds_the_gate_shut_is_done_by_who_is_inside():
    """A hundred calls meanwhile are one more run, which begins after the last of them."""
    gate, inside, go_on, runs = Gate(1), Event(), Event(), []

    def work() -> None:
        runs.append(len(runs))
        inside.set()
        assert go_on.wait(10)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(gate.run, work)
        assert inside.wait(10)
        for _ in range(100):
            gate.run(work)
        go_on.set()
        first.result(10)
    assert runs == [0, 1]


def test_a_failure_opens_the_gate_again():
    def failing() -> None:
        raise ValueError("no")

    gate, runs = Gate(1), []
    with pytest.raises(ValueError, match="no"):
        gate.run(failing)
    gate.run(lambda: runs.append(1))
    assert runs == [1]
