"""Errors that several features raise, and the bases of all others.

An error is a class with a stable `code` and its facts as attributes. It says nothing of HTTP:
`origin.web.errors` holds the status and the message of each. An error that only one feature raises
stands with that feature's rules.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar


class OriginError(Exception):
    """Base of all errors of this service's own.

    :cvar code: Snake case, unique, never changed: clients of version 2 read it. None for an error
        that never reaches a client.
    """

    code: ClassVar[str | None] = None


class Rejected(OriginError):
    """Base of all errors for a request that breaks a rule: final, and nothing was changed."""

    def __str__(self) -> str:
        """Return the code and the facts, for logs."""
        facts = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{self.code} ({facts})" if facts else str(self.code)


# Requests as a whole.


class BodyMissing(Rejected):
    """The request needs a JSON body and has none."""

    code = "body_missing"


class BodyNotJson(Rejected):
    """The body is not JSON."""

    code = "body_not_json"


class BodyCutShort(Rejected):
    """The client stopped sending before the body was whole."""

    code = "body_cut_short"


class BodyIllFormed(Rejected):
    """The body breaks the rules of chunked transfer coding."""

    code = "body_ill_formed"


@dataclass(eq=False)
class BodyTooLarge(OriginError):
    """The body is longer than MAX_BODY_BYTES, which is `limit_bytes`."""

    code = "body_too_large"
    limit_bytes: int


@dataclass(eq=False)
class BodyTooSlow(OriginError):
    """The body took longer than BODY_TIME_LIMIT to arrive, which is `limit_s` seconds."""

    code = "body_too_slow"
    limit_s: float


class PlaceNeeded(OriginError):
    """Another connection needs the place of this one before its body has arrived."""

    code = "too_busy_for_body"


@dataclass(eq=False)
class SchemaViolated(Rejected):
    """The body or the query does not fit its schema.

    :ivar messages: marshmallow's, by wire name; items of lists by number.
    :ivar in_query: Whether they are about parameters of the query, not about members of the body.
    """

    code = "schema_violated"
    messages: dict[str, Any]
    in_query: bool = False


class CursorInvalid(Rejected):
    """The cursor was changed, or belongs to another account, path, order or other filters."""

    code = "invalid_cursor"


class NotFound(Rejected):
    """Nothing has this address, or it belongs to another account."""

    code = "not_found"


@dataclass(eq=False)
class NotAcceptable(Rejected):
    """The header `Accept` allows no form in which the answer is offered.

    :ivar offered: The media types that are.
    """

    code = "not_acceptable"
    offered: Collection[str]


# Callers: tokens, scopes, signatures, rates.


class AccessTokenMissing(OriginError):
    """The request has no access token."""

    code = "access_token_missing"


class AccessTokenInvalid(OriginError):
    """The access token is not active, or its subject has no active account."""

    code = "access_token_invalid"


class CallerDisabled(AccessTokenInvalid):
    """The caller's account was disabled after authentication. Clients see an invalid token."""


@dataclass(eq=False)
class ScopeMissing(OriginError):
    """The access token lacks a scope that the endpoint needs.

    :ivar scopes: All scopes that it needs.
    """

    code = "scope_missing"
    scopes: Collection[str]


class SignatureInvalid(OriginError):
    """The body's signature by WEBHOOK_SECRET is missing or wrong."""

    code = "signature_invalid"


@dataclass(eq=False)
class RateLimited(OriginError):
    """The caller made too many requests in a minute: wait for `Retry-After`.

    :ivar per_minute: How many are allowed.
    :ivar wait_s: Seconds until the caller may make the next.
    """

    code = "rate_limited"
    per_minute: int
    wait_s: int


# Rules of several features.


@dataclass(eq=False)
class MeteringPointUnavailable(Rejected):
    """A metering point is unknown, another account's, or not one for consumption.

    :ivar gsrns: All those metering points.
    """

    code = "metering_point_unavailable"
    gsrns: Collection[str]


@dataclass(eq=False)
class IdempotencyKeyInvalid(Rejected):
    """The Idempotency-Key is empty or too long, or (in version 2) not of printable ASCII characters.

    :ivar max_length: In characters.
    """

    code = "idempotency_key_invalid"
    max_length: int


class IdempotencyKeyMissing(Rejected):
    """The request moves GGOs and has no Idempotency-Key."""

    code = "idempotency_key_required"


class KeyInUse(OriginError):
    """Another request with the same Idempotency-Key is still running."""

    code = "idempotency_key_in_use"


class KeyReused(OriginError):
    """The Idempotency-Key came before with another body."""

    code = "idempotency_key_reused"


class TokensSpent(OriginError):
    """The user's tokens are refused for good: only a new login helps."""

    code = "login_required"


class Recovering(OriginError):
    """Operators recover the database: requests that would change GGOs or keys must wait."""

    code = "recovering"


class OwnerChanged(OriginError):
    """The owner's key or metering point changed while GGOs were being issued: try again."""

    code = "owner_changed"


# Peers.


class PeerError(OriginError):
    """A peer failed. The base of all failures of peers.

    The text names the peer and never holds a secret.
    """

    code: ClassVar[str | None] = "peer_failed"

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer}: {reason}")
        self.peer = peer
        self.reason = reason


class PeerUnavailable(PeerError):
    """A peer gave no response, or one that says "later". The request may have arrived."""

    code = "peer_unavailable"


class PeerUnreachable(PeerUnavailable):
    """No connection was made, so the request did not arrive."""


class PeerTooSlow(PeerUnavailable):
    """A peer did not answer in time. It may still be working: an immediate retry adds to its load."""

    code = "peer_too_slow"


class PeerMisbehaved(PeerError):
    """The peer's response does not have the documented shape or status."""

    code = "peer_misbehaved"


class PeerUnauthorized(PeerError):
    """The peer refused our token (401)."""


class PeerClientRefused(PeerUnauthorized):
    """The peer refused this service's own credentials: an operator must correct them."""


# The service itself.


class DatabaseUnavailable(OriginError):
    """The database cannot be reached now, or asks for a retry."""

    code = "database_unavailable"


class DatabaseReadOnly(OriginError):
    """The database cannot be written now."""

    code = "database_read_only"


class NoConnectionFree(OriginError):
    """All database connections are in use."""

    code = "too_busy"


class ValueNotStorable(Rejected):
    """The database cannot hold a value of the request."""

    code = "value_not_storable"


class ConfigurationError(OriginError):
    """The environment is wrong. The text names each wrong variable, and no value."""


class CannotRotate(OriginError):
    """Rows must not be sealed with the first secret yet; the text says why."""


class CannotRecover(OriginError):
    """The database cannot be recovered now; the text says why."""
