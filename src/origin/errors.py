"""Everything that can go wrong in a way that a caller is told about.

Rules and use cases raise these; `origin.web.errors` maps them to HTTP in one place.
"""

from typing import Any

Message = str | dict[str, Any]
"""A sentence, or for schema errors an object of messages by wire name (contract: http-api)."""


class OriginError(Exception):
    """Base of all errors of this service's own."""


class Refused(OriginError):
    """The request breaks a rule: final, nothing was changed (400).

    :param message: What the client is told, a sentence or messages by wire name.
    """

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


class PeerError(OriginError):
    """Base of what peers do wrong. The text names the peer and never holds a secret."""

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer}: {reason}")
        self.peer = peer
        self.reason = reason


class PeerUnavailable(PeerError):
    """The peer gave no answer, or one that says "later": try again (503).

    The request may have arrived all the same.
    """


class PeerUnreachable(PeerUnavailable):
    """No connection came about: the request surely did not arrive."""


class PeerTooSlow(PeerUnavailable):
    """No answer came in time. The peer may still work at it: a repeat at once adds to its work."""


class PeerMisbehaved(PeerError):
    """The peer answered what it shouldn't: not the documented shape or status (502)."""


class PeerUnauthorized(PeerError):
    """The peer refused our token (401)."""


class PeerClientRefused(PeerUnauthorized):
    """It refused this service itself: our credentials are wrong, which an operator must mend."""


class TokensSpent(OriginError):
    """The user's tokens are refused for good: only a new login helps."""


class ConfigurationError(OriginError):
    """The environment is wrong; the text names every variable and no value."""


class Recovering(OriginError):
    """The operators recover the database: what would change GGOs or keys rests (503)."""


class CannotRecover(OriginError):
    """The database can't be recovered now; the text says why."""


class KeyInUse(OriginError):
    """Another request with the same Idempotency-Key still runs (409)."""


class KeyReused(OriginError):
    """The Idempotency-Key came before with another body (422)."""


class CallerDisabled(OriginError):
    """The caller's account was disabled after authentication (401)."""
