"""Rules for new subscriptions (contract: http-api, Webhook subscriptions)."""

from dataclasses import dataclass
from datetime import timedelta

from origin.errors import Rejected

MAX_PER_EVENT = 100
"""Live subscriptions of one user to one event."""
MAX_PER_SUBJECT = 10
"""Subscriptions of one subject before its first login."""
EARLY_KEPT_FOR = timedelta(days=30)
"""A first login ignores early subscriptions that are older, and pruning deletes them."""


class UrlInvalid(Rejected):
    """The URL has no valid host or port, has credentials, or is too long."""

    code = "url_invalid"


class UrlSchemeNotAllowed(Rejected):
    """The URL is neither http nor https."""

    code = "url_scheme_not_allowed"


class UrlAddressNotAllowed(Rejected):
    """The URL's host leads to an address that webhooks must not reach."""

    code = "url_address_not_allowed"


class SecretNotBase64(Rejected):
    """The secret begins with `whsec_`, and what follows is not base64."""

    code = "secret_not_base64"


@dataclass(eq=False)
class TooManySubscriptions(Rejected):
    """The account has `most` subscriptions to this event."""

    code = "too_many_subscriptions"
    most: int


@dataclass(eq=False)
class TooManyEarlySubscriptions(Rejected):
    """The subject, who has not logged in yet, has `most` subscriptions."""

    code = "too_many_early_subscriptions"
    most: int


def check_count(others: int) -> None:
    """Check that the user may have one more subscription to an event.

    :param others: The user's live subscriptions to that event at other URLs.
    :raises TooManySubscriptions: there are MAX_PER_EVENT.
    """
    if others >= MAX_PER_EVENT:
        raise TooManySubscriptions(MAX_PER_EVENT)


def check_early_count(others: int) -> None:
    """Check that the subject may have one more subscription before its first login.

    :param others: The subject's early subscriptions, of all events.
    :raises TooManyEarlySubscriptions: there are MAX_PER_SUBJECT.
    """
    if others >= MAX_PER_SUBJECT:
        raise TooManyEarlySubscriptions(MAX_PER_SUBJECT)
