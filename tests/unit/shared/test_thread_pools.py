"""Work in a pool's threads belongs to the code that submits it."""

from contextvars import ContextVar

from origin.shared.thread_pools import ContextThreadPool

_work: ContextVar[str] = ContextVar("work", default="none")


def test_a_thread_sees_its_callers_context_and_does_not_change_it():
    def change(number: int) -> tuple[int, str]:
        seen = _work.get()
        _work.set("of the thread")
        return number, seen

    token = _work.set("of the caller")
    with ContextThreadPool(1) as pool:
        assert list(pool.map(change, [1, 2])) == [(1, "of the caller"), (2, "of the caller")]
        assert pool.submit(change, 3).result() == (3, "of the caller")
    assert _work.get() == "of the caller"
    _work.reset(token)
