"""Repeat a call while its peer is out of reach."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from origin.errors import PeerUnavailable
from origin.shared.deadlines import interruptible_sleep

DATAHUB_PAUSES_S = (20.0, 60.0)
"""Long pauses: DataHub may still be working on a call that was given up."""

T = TypeVar("T")


def patiently(call: Callable[[], T], pauses_s: Iterable[float] = DATAHUB_PAUSES_S) -> T:
    """Call a peer; while it is out of reach, call again after each of these pauses.

    :raises PeerUnavailable: It still is after the last pause.
    """
    for pause_s in pauses_s:
        try:
            return call()
        except PeerUnavailable:
            interruptible_sleep(pause_s)
    return call()
