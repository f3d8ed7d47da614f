"""The errors that rules and use cases raise. `origin.web.errors` maps them to HTTP responses."""

from typing import Any

Message = str | dict[str, Any]
"""A sentence, or for schema errors messages by name of the field on the wire (contract: http-api)."""


class OriginError(Exception):
    """Base of this service's errors."""


class Refused(OriginError):
    """The request breaks a rule and changed nothing; a repeat fails as well (400).

    :param message: The client's message.
    """

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


class PeerError(OriginError):
    """Base of errors about peers. The text names the peer and never holds a secret."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer}: {reason}")
        self.peer = peer
        self.reason = reason


class PeerUnavailable(PeerError):
    """The peer did not respond, or asked to try again later (503).

    The request may have arrived nevertheless.
    """


class PeerUnreachable(PeerUnavailable):
    """No connection could be made, so the request did not arrive."""


class PeerTooSlow(PeerUnavailable):
    """No response came in time. The peer may still work on it; an immediate repeat adds to its load."""


class PeerMisbehaved(PeerError):
    """The response does not have the documented shape or status (502)."""


class PeerUnauthorized(PeerError):
    """The peer rejected the user's token (401)."""


class PeerClientRefused(PeerUnauthorized):
    """The peer rejected this service's own credentials; an operator must correct them."""


class TokensSpent(OriginError):
    """The user's tokens are no longer valid and can't be refreshed. The user must log in again."""


class ConfigurationError(OriginError):
    """The environment is wrong. The text names every wrong variable and no value."""


class Recovering(OriginError):
    """RECOVERY_MODE=1: whatever changes GGOs or keys is unavailable (503)."""


class CannotRecover(OriginError):
    """The database can't be recovered now. The text says why."""


class KeyInUse(OriginError):
    """Another request with the same Idempotency-Key is still running (409)."""


class KeyReused(OriginError):
    """The Idempotency-Key was used before with another body (422)."""


class CallerGone(OriginError):
    """The caller's account is not the one that it was found to be: disabled, or not there."""
