"""The status and the message of every error, in one table (contract: http-api, Conventions)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from origin import errors
from origin.accounts.rules import LoginStateUnknown, ReturnUrlNotAllowed
from origin.balances.rules import balance
from origin.bulk.rules import limits, plan, retirements, transfers
from origin.compose import rules as compose
from origin.errors import OriginError
from origin.forecasts.rules import ForecastTooLong, RecipientUnknown
from origin.ggos.rules import summaries
from origin.intake.rules.events import (
    GgoFault,
    GgoImpossible,
    MeteringPointOfAnother,
)
from origin.keys.derivation import IndexOutOfRange
from origin.operations.rules import AlreadyFinal, AlreadyPlanned
from origin.shared.limits import MAX_TEXT_BYTES
from origin.web.messages import Message, shortened
from origin.webhooks.rules import subscriptions

RETRY_AFTER_S = "10"
"""Seconds after which to try again what is unavailable now."""
_RETRY_AFTER_TIMEOUT_S = "60"
"""Longer, because the peer may still be working on the request that timed out."""
_RETRY_AFTER_RECOVERY_S = "60"
_CHALLENGE = 'Bearer realm="AccountService"'


@dataclass(frozen=True)
class ErrorAnswer:
    """The old API's answer to an error (version 2: `origin.web.v2.problems`).

    :ivar code: The error's code: the old API's answers do not have it.
    """

    status: int
    code: str
    message: Message
    headers: Mapping[str, str]

    @property
    def body(self) -> dict[str, Any]:
        """The old API's body."""
        return {"success": False, "message": self.message}


@dataclass(frozen=True)
class Wording:
    """How to word one class of errors: HTTP status, message, and further headers.

    :ivar v2: The wording of version 2 where it differs from the old API's.
    :ivar pointers: JSON pointers (RFC 6901) to the members of the body that are wrong; version 2 alone
        tells them. Those of `SchemaViolated` follow from its messages.
    :ivar members: Further members of version 2's answer, such as `count`.
    """

    status: int
    message: Callable[[Any], Message]
    headers: Callable[[Any], Mapping[str, str]] = lambda _: {}
    v2: "Wording | None" = None
    pointers: Callable[[Any], Iterable[str]] = lambda _: ()
    members: Callable[[Any], Mapping[str, Any]] = lambda _: {}


def wording_of(error: OriginError) -> Wording:
    """Return the table's entry for this error's class or its nearest base.

    :raises LookupError: The table has no such entry: the error is not for clients.
    """
    wording = next((TABLE[each] for each in type(error).__mro__ if each in TABLE), None)
    if wording is None or error.code is None:
        raise LookupError(type(error).__name__)
    return wording


def worded(error: OriginError) -> ErrorAnswer:
    """Return the old API's answer to this error.

    :raises LookupError: As `wording_of`.
    """
    wording = wording_of(error)
    assert error.code is not None
    message = shortened(wording.message(error))
    return ErrorAnswer(wording.status, error.code, message, wording.headers(error))


def _sentence(text: str) -> Callable[[Any], Message]:
    """Return a message that is the same for every error of the class."""
    return lambda _: text


def _field(name: str, text: str) -> Callable[[Any], Message]:
    """Return a message about one field of the request, in the shape of a schema's messages."""
    return lambda _: {name: [text]}


def _retry_after(seconds: str) -> Callable[[Any], Mapping[str, str]]:
    return lambda _: {"Retry-After": seconds}


def _scopes(error: errors.ScopeMissing) -> str:
    return " ".join(sorted(error.scopes))


def _no_user(subject: str) -> dict[str, list[str]]:
    return {"account": [f"No user exists with subject: {subject}"]}


def _account_unavailable(error: compose.AccountUnavailable) -> str:
    return f"Account unavailable ({error.subject})"


def _targets(positions: Iterable[int]) -> list[str]:
    """Return the pointers to the accounts of these targets."""
    return [f"/targets/{place}/account" for place in positions]


def _points_unavailable(error: errors.MeteringPointUnavailable) -> str:
    return _metering_points(error.gsrns)


def _metering_points(gsrns: Iterable[str]) -> str:
    return f"MeteringPoint unavailable (GSRN: {', '.join(gsrns)})"


_GGO_FAULTS = {
    GgoFault.AMOUNT_BELOW_ONE: "Must be greater than or equal to 1.",
    GgoFault.CODE_MISSING: "Missing data for required field.",
    GgoFault.TEXT_TOO_LONG: f"Longer than {MAX_TEXT_BYTES} bytes in UTF-8.",
    GgoFault.BEGIN_WITHOUT_KEYS: (
        "No keys can be derived for a begin before 1970 or from 2038-01-19T03:14:08Z on."
    ),
    GgoFault.END_NOT_AFTER_BEGIN: "Must be after begin.",
}

_REQUESTS: dict[type[OriginError], Wording] = {
    errors.BodyMissing: Wording(400, _sentence("No JSON body provided")),
    errors.BodyNotJson: Wording(400, _sentence("Bad JSON body provided")),
    errors.BodyCutShort: Wording(400, _sentence("The body was cut short")),
    errors.BodyIllFormed: Wording(400, _sentence("The body is not well-formed")),
    errors.SchemaViolated: Wording(400, lambda error: error.messages),
    errors.BodyTooSlow: Wording(
        408, lambda error: f"The body took longer than {error.limit_s:g} s to arrive"
    ),
    errors.PlaceNeeded: Wording(408, _sentence("Too busy to wait for the body")),
    errors.BodyTooLarge: Wording(
        413, lambda error: f"The body is longer than {error.limit_bytes} bytes"
    ),
}

_CALLERS: dict[type[OriginError], Wording] = {
    errors.AccessTokenMissing: Wording(
        401, _sentence("No bearer token"), lambda _: {"WWW-Authenticate": _CHALLENGE}
    ),
    errors.AccessTokenInvalid: Wording(
        401,
        _sentence("The token is not valid"),
        lambda _: {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
    ),
    errors.ScopeMissing: Wording(
        403,
        lambda error: f"The token lacks a scope of: {_scopes(error)}",
        lambda error: {
            "WWW-Authenticate": (
                f'{_CHALLENGE}, error="insufficient_scope", scope="{_scopes(error)}"'
            )
        },
    ),
    errors.RateLimited: Wording(
        429,
        lambda error: f"More than {error.per_minute} requests in a minute",
        lambda error: {"Retry-After": str(error.wait_s)},
    ),
    # No challenge, and not 401: the caller's token is good, and a fresh one would not help.
    errors.TokensSpent: Wording(
        403,
        _sentence(
            "DataHubService takes this account's tokens no more: its holder must log in here again"
        ),
    ),
}

_RULES: dict[type[OriginError], Wording] = {
    errors.CursorInvalid: Wording(
        400,
        _field("cursor", "Not a valid cursor of this account, with these filters and this order."),
    ),
    errors.MeteringPointUnavailable: Wording(
        400, _points_unavailable, v2=Wording(422, _points_unavailable)
    ),
    compose.AccountUnavailable: Wording(
        400,
        _account_unavailable,
        v2=Wording(422, _account_unavailable, pointers=lambda error: _targets(error.positions)),
    ),
    errors.IdempotencyKeyInvalid: Wording(
        400,
        lambda error: f"Idempotency-Key: 1 to {error.max_length} characters",
        v2=Wording(
            400,
            lambda error: f"Idempotency-Key: 1 to {error.max_length} printable ASCII characters",
        ),
    ),
    errors.KeyInUse: Wording(
        409, _sentence("A request with this Idempotency-Key still runs"), _retry_after("1")
    ),
    errors.KeyReused: Wording(422, _sentence("This Idempotency-Key came before with another body")),
}

_LOGIN: dict[type[OriginError], Wording] = {
    ReturnUrlNotAllowed: Wording(400, _field("returnUrl", "Not a URL of an allowed origin.")),
    LoginStateUnknown: Wording(400, _field("state", "Unknown, used or expired.")),
}

_COMPOSE: dict[type[OriginError], Wording] = {
    compose.NothingOrdered: Wording(400, _sentence("Nothing to transfer/retire")),
    compose.GgoUnavailable: Wording(
        400, lambda error: f"GGO not found or is unavailable: {error.address}"
    ),
    compose.AmountExceedsAvailable: Wording(
        400, _sentence("Requested amount exceeds available amount")
    ),
    compose.UnknownRecipients: Wording(
        400,
        lambda error: {
            "transfers": {str(place): _no_user(each) for place, each in error.subjects.items()}
        },
    ),
    compose.MeasurementUnavailable: Wording(
        400,
        lambda error: (
            f"No measurement available at {error.begin.isoformat()} for GSRN {error.gsrn}"
        ),
    ),
    compose.MeasurementUnfit: Wording(
        400, lambda error: f"Can not retire GGO to measurement {error.address}"
    ),
    compose.HeadroomExceeded: Wording(
        400,
        lambda error: (
            f"Can only retire up to {error.headroom} (you tried to retire {error.amount})"
        ),
    ),
}

_FEATURES: dict[type[OriginError], Wording] = {
    errors.SignatureInvalid: Wording(
        401,
        _sentence("The signature is missing or wrong"),
        lambda _: {"WWW-Authenticate": "x-hub-signature"},
    ),
    summaries.RangeOutOfBounds: Wording(
        400, lambda _: {"filters": {"beginRange": ["A time is out of bounds."]}}
    ),
    summaries.TooManyLabels: Wording(
        400, lambda error: {"fill": [f"More than {error.most} labels."]}
    ),
    summaries.TooManyValues: Wording(
        400,
        lambda error: {
            "grouping": [
                f"More than {error.most} values: {error.labels} labels, {error.groups} groups."
            ]
        },
    ),
    summaries.TimeZoneUnknown: Wording(400, _field("timezone", "Not known to the database.")),
    ForecastTooLong: Wording(
        400, _field("resolution", "The forecast would end after the year 9999.")
    ),
    RecipientUnknown: Wording(400, lambda error: _no_user(error.subject)),
    GgoImpossible: Wording(
        400,
        lambda error: {"ggo": {name: [_GGO_FAULTS[fault]] for name, fault in error.faults.items()}},
    ),
    MeteringPointOfAnother: Wording(
        400, lambda error: {"ggo": {"gsrn": [_metering_points([error.gsrn])]}}
    ),
    IndexOutOfRange: Wording(400, str),
    subscriptions.UrlInvalid: Wording(400, _field("url", "Not a valid URL.")),
    subscriptions.UrlSchemeNotAllowed: Wording(400, _field("url", "Must be an http or https URL.")),
    subscriptions.UrlAddressNotAllowed: Wording(
        400, _field("url", "The host's address is not allowed.")
    ),
    subscriptions.SecretNotBase64: Wording(
        400, _field("secret", "What follows whsec_ must be base64.")
    ),
    subscriptions.TooManySubscriptions: Wording(
        400, lambda error: f"At most {error.most} subscriptions to one event"
    ),
    subscriptions.TooManyEarlySubscriptions: Wording(
        400, lambda error: f"At most {error.most} subscriptions before the first login"
    ),
}

_SERVERS: dict[type[OriginError], Wording] = {
    errors.PeerUnavailable: Wording(
        503, lambda error: f"{error.peer} is out of reach", _retry_after(RETRY_AFTER_S)
    ),
    errors.PeerTooSlow: Wording(
        503, lambda error: f"{error.peer} is out of reach", _retry_after(_RETRY_AFTER_TIMEOUT_S)
    ),
    errors.PeerError: Wording(502, lambda error: f"{error.peer} answered what it should not"),
    errors.Recovering: Wording(
        503, _sentence("The service is being recovered"), _retry_after(_RETRY_AFTER_RECOVERY_S)
    ),
    errors.OwnerChanged: Wording(
        503, _sentence("The account has just changed"), _retry_after(RETRY_AFTER_S)
    ),
    errors.DatabaseUnavailable: Wording(
        503, _sentence("The database is out of reach"), _retry_after(RETRY_AFTER_S)
    ),
    errors.DatabaseReadOnly: Wording(
        503, _sentence("The database can't be written now"), _retry_after(RETRY_AFTER_S)
    ),
    errors.NoConnectionFree: Wording(503, _sentence("Too busy"), _retry_after(RETRY_AFTER_S)),
    errors.ValueNotStorable: Wording(
        400, _sentence("A value is too large, or none that can be stored")
    ),
}

_OF_V2: dict[type[OriginError], Wording] = {
    errors.NotFound: Wording(404, _sentence("Not Found")),
    errors.NotAcceptable: Wording(
        406, lambda error: f"Accept allows none of: {', '.join(error.offered)}"
    ),
    errors.IdempotencyKeyMissing: Wording(400, _sentence("Send an Idempotency-Key")),
}

_OPERATIONS: dict[type[OriginError], Wording] = {
    AlreadyPlanned: Wording(409, _sentence("The operation is planned already")),
    AlreadyFinal: Wording(409, _sentence("The operation is final already")),
}

_BULK: dict[type[OriginError], Wording] = {
    transfers.TakesMixed: Wording(
        400,
        _sentence("Several targets must all take an amount, or all a percentage"),
        pointers=lambda _: ["/targets"],
    ),
    transfers.PercentagesAbove100: Wording(
        400, _sentence("The percentages are above 100 together"), pointers=lambda _: ["/targets"]
    ),
    transfers.SameAccount: Wording(
        422,
        _sentence("The sender can not be a target"),
        pointers=lambda error: _targets(error.positions),
    ),
    limits.TooMany: Wording(
        422,
        lambda error: f"Too many {error.what}: {error.count}, at most {error.most}",
        members=lambda error: {"count": error.count},
    ),
    plan.NothingSelected: Wording(422, _sentence("Nothing is selected")),
    plan.Insufficient: Wording(
        422,
        lambda error: f"Only {error.available} of {error.requested} Wh are available",
        members=lambda error: {"available": error.available, "requested": error.requested},
    ),
    plan.PlanChanged: Wording(409, _sentence("The plan is not the expected one")),
    # Only as the refusal of an operation.
    retirements.MeasurementsUnavailable: Wording(
        422, _sentence("DataHubService could not give the measurements for 24 hours")
    ),
}

_BALANCES: dict[type[OriginError], Wording] = {
    balance.MomentAhead: Wording(
        400,
        lambda error: {"at": [f"Must not be in the future: it is {error.now.isoformat()} now."]},
    ),
    balance.MomentOpen: Wording(
        503,
        _sentence("Orders that may belong to this moment are still being written"),
        _retry_after(RETRY_AFTER_S),
    ),
}

_OF_BOTH = {**_REQUESTS, **_CALLERS, **_RULES, **_SERVERS}
OLD_API: Mapping[type[OriginError], Wording] = {**_OF_BOTH, **_LOGIN, **_COMPOSE, **_FEATURES}
"""The old API's errors. Their messages must stay as they are, to the letter."""
V2: Mapping[type[OriginError], Wording] = {
    **_OF_BOTH,
    **_OF_V2,
    **_OPERATIONS,
    **_BULK,
    **_BALANCES,
}
"""The errors of version 2."""
TABLE: Mapping[type[OriginError], Wording] = {**OLD_API, **V2}
"""Every error that a client may see."""
