"""Single-flight, as the batches' task uses it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from origin.tasks.single_flight import SingleFlight

Poll = Callable[[], None]


@pytest.mark.parametrize("single_flight", [SingleFlight(1, 0.0), SingleFlight(4, 60.0)])
def test_skipped_calls_make_the_current_run_work_once_more(single_flight: SingleFlight):
    """A hundred calls during a run become one more run, which begins after the last of them."""
    inside, go_on, runs = Event(), Event(), []

    def work(_: Poll) -> None:
        runs.append(len(runs))
        inside.set()
        assert go_on.wait(10)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(single_flight.run, work)
        assert inside.wait(10)
        for _ in range(100):
            single_flight.run(work)
        go_on.set()
        first.result(10)
    assert runs == [0, 1]


def test_a_call_before_the_last_poll_needs_no_other_run():
    single_flight, runs = SingleFlight(1, 0.0), []

    def work(poll: Poll) -> None:
        runs.append(len(runs))
        single_flight.run(work)
        poll()

    single_flight.run(work)
    assert runs == [0]


def test_a_run_that_has_not_polled_for_long_does_not_block_the_next():
    single_flight, together = SingleFlight(2, 0.0), Barrier(2)

    def work(_: Poll) -> None:
        together.wait(10)

    with ThreadPoolExecutor() as pool:
        for run in [pool.submit(single_flight.run, work) for _ in range(2)]:
            run.result(20)


def test_the_next_call_runs_after_a_failure():
    def failing(_: Poll) -> None:
        raise ValueError("no")

    single_flight, runs = SingleFlight(1, 0.0), []
    with pytest.raises(ValueError, match="no"):
        single_flight.run(failing)
    single_flight.run(lambda _: runs.append(1))
    assert runs == [1]


def test_a_run_that_has_ended_does_not_make_calls_skip():
    """One run is held up; a second ran beside it, polled last, and ended: the next call runs."""
    single_flight, held_up, go_on, runs = SingleFlight(2, 0.05), Event(), Event(), []

    def stuck(_: Poll) -> None:
        held_up.set()
        assert go_on.wait(10)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(single_flight.run, stuck)
        assert held_up.wait(10)
        while not single_flight.run(lambda _: runs.append("beside")):
            pass
        assert single_flight.run(lambda _: runs.append("next"))
        go_on.set()
        first.result(10)
    assert runs == ["beside", "next"]
