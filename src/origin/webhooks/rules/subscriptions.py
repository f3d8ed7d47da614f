"""Rules that a new subscription can break (contract: http-api, Webhook subscriptions)."""

from dataclasses import dataclass

from origin.errors import Rejected


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
