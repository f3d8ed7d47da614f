"""Retries a call to a peer that is unavailable."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from origin.errors import PeerUnavailable
from origin.shared.deadlines import interruptible_sleep

DATAHUB_PAUSES_S = (20.0, 60.0)
"""Seconds. The pauses are long, because DataHub may still be working on a call that timed out."""

T = TypeVar("T")


def retry_while_unavailable(
    call: Callable[[], T], pauses_s: Iterable[float] = DATAHUB_PAUSES_S
) -> T:
    """Return the result of `call`. If the peer is unavailable, call again after each of these pauses.

    :param pauses_s: Seconds. A shutdown of the process ends a pause early.
    :raises PeerUnavailable: the peer is still unavailable after the last pause.
    """
    for pause_s in pauses_s:
        try:
            return call()
        except PeerUnavailable:
            interruptible_sleep(pause_s)
    return call()
