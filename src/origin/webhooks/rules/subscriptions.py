"""How many subscriptions there may be, and how long those without an account are kept."""

from datetime import timedelta

from origin.errors import Refused

MAX_PER_EVENT = 100
"""Live subscriptions of one user to one event."""
MAX_PER_SUBJECT = 10
"""Subscriptions of one subject before its first login."""
EARLY_KEPT_FOR = timedelta(days=30)
"""A first login ignores early subscriptions that are older, and pruning deletes them."""


def check_count(others: int) -> None:
    """Check that the user may have one more subscription to an event.

    :param others: The user's live subscriptions to that event at other URLs.
    :raises Refused: MAX_PER_EVENT are reached.
    """
    if others >= MAX_PER_EVENT:
        raise Refused(f"At most {MAX_PER_EVENT} subscriptions to one event")


def check_early_count(others: int) -> None:
    """Check that the subject may have one more subscription before its first login.

    :param others: What the subject has already, of all events.
    :raises Refused: MAX_PER_SUBJECT are reached.
    """
    if others >= MAX_PER_SUBJECT:
        raise Refused(f"At most {MAX_PER_SUBJECT} subscriptions before the first login")
