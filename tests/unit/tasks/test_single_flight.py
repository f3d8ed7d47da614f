"""The gate in front of the batches' task."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from origin.tasks.single_flight import Gate

Look = Callable[[], None]


@pytest.mark.parametrize("gate", [Gate(1, 0.0), Gate(4, 60.0)])
def test_what_is_left_to_who_is_inside_is_done_by_him(gate: Gate):
    """A hundred calls meanwhile are one more run, which begins after the last of them."""
    inside, go_on, runs = Event(), Event(), []

    def work(_: Look) -> None:
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


def test_what_came_before_the_last_look_needs_no_other_run():
    gate, runs = Gate(1, 0.0), []

    def work(look: Look) -> None:
        runs.append(len(runs))
        gate.run(work)
        look()

    gate.run(work)
    assert runs == [0]


def test_who_has_not_looked_for_long_is_not_waited_for():
    gate, together = Gate(2, 0.0), Barrier(2)

    def work(_: Look) -> None:
        together.wait(10)

    with ThreadPoolExecutor() as pool:
        for run in [pool.submit(gate.run, work) for _ in range(2)]:
            run.result(20)


def test_a_failure_opens_the_gate_again():
    def failing(_: Look) -> None:
        raise ValueError("no")

    gate, runs = Gate(1, 0.0), []
    with pytest.raises(ValueError, match="no"):
        gate.run(failing)
    gate.run(lambda _: runs.append(1))
    assert runs == [1]


def test_who_has_left_is_not_waited_for():
    """One is held up; another came beside him, looked last, and left: the next call works itself."""
    gate, held_up, go_on, runs = Gate(2, 0.05), Event(), Event(), []

    def stuck(_: Look) -> None:
        held_up.set()
        assert go_on.wait(10)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(gate.run, stuck)
        assert held_up.wait(10)
        while not gate.run(lambda _: runs.append("beside")):
            pass
        assert gate.run(lambda _: runs.append("next"))
        go_on.set()
        first.result(10)
    assert runs == ["beside", "next"]
