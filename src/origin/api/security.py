"""Who is asking: bearer tokens and scopes, checked before anything else of a request (RFC 6750)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from flask import current_app, g, request
from werkzeug.exceptions import TooManyRequests

from origin.api.base import runtime
from origin.api.errors import Forbidden, Unauthorized
from origin.services.bearer import BearerTokens
from origin.services.rate_limits import RateLimits
from origin.services.users import active_user_id

P = ParamSpec("P")
T = TypeVar("T")

_EXTENSION = "origin_bearer_tokens"
_RATE_LIMITS = "origin_rate_limits"
_CHALLENGE = 'Bearer realm="AccountService"'


@dataclass(frozen=True)
class CurrentUser:
    """The active account whose token this request carries."""

    id: int
    subject: str


@dataclass(frozen=True)
class Guard:
    """What a view asks of its caller: a token with all these scopes, or a signature; or nothing."""

    scopes: tuple[str, ...] = ()
    is_signed: bool = False


def mark(view: Callable[P, T], guard: Guard) -> None:
    """Note at a view how it is guarded, for the API's description; it guards nothing."""
    view.__dict__["origin_guard"] = guard


def guard_of(view: Callable[P, T]) -> Guard:
    """What was noted at a view."""
    return cast("Guard", view.__dict__.get("origin_guard", Guard()))


def current_user() -> CurrentUser:
    """Who is asking, in a view under `requires`."""
    return cast("CurrentUser", g.current_user)


def requires(*scopes: str, cached: bool = True) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let only active accounts in whose token has all these scopes; see `current_user`.

    Stands above `@arguments`: the order is to authenticate, to authorise, to parse.

    :param cached: Whether an introspection of some seconds ago will do.
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            g.current_user = _authenticate(frozenset(scopes), cached=cached)
            return view(*args, **kwargs)

        mark(guarded, Guard(scopes=scopes))
        return guarded

    return decorate


def _authenticate(scopes: frozenset[str], *, cached: bool) -> CurrentUser:
    """The caller.

    :raises Unauthorized: no valid token of an active account.
    :raises Forbidden: the token has not all the scopes.
    :raises TooManyRequests: the account has made too many requests.
    :raises PeerError: Hydra can't tell now.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("No bearer token", _CHALLENGE)
    if not _is_plain(token):
        raise _invalid_token()
    worth = _bearer_tokens().worth(token, cached=cached)
    if worth is None:
        raise _invalid_token()
    user_id = active_user_id(runtime(), worth.subject)
    if user_id is None:
        raise _invalid_token()
    if not scopes <= worth.scopes:
        wanted = " ".join(sorted(scopes))
        raise Forbidden(
            f"The token lacks a scope of: {wanted}",
            f'{_CHALLENGE}, error="insufficient_scope", scope="{wanted}"',
        )
    _limit_rate(user_id)
    return CurrentUser(user_id, worth.subject)


def _limit_rate(user_id: int) -> None:
    """Count this request of an account.

    :raises TooManyRequests: they were too many.
    """
    limits = current_app.extensions.get(_RATE_LIMITS)
    if limits is None:
        made = RateLimits(runtime().settings)
        limits = current_app.extensions.setdefault(_RATE_LIMITS, made)
    if wait_s := limits.wait_s(user_id):
        reason = f"More than {limits.per_minute} requests in a minute"
        raise TooManyRequests(reason, retry_after=wait_s)


def _is_plain(token: str) -> bool:
    """Tell whether it is one word of printable ASCII, as all tokens are."""
    return token.isascii() and token.isprintable() and " " not in token


def _invalid_token() -> Unauthorized:
    """One answer for all that is wrong with a token, or with the account behind it."""
    return Unauthorized("The token is not valid", f'{_CHALLENGE}, error="invalid_token"')


def _bearer_tokens() -> BearerTokens:
    """This app's, made when first used."""
    made = current_app.extensions.get(_EXTENSION)
    if made is None:
        world = runtime()
        made = current_app.extensions.setdefault(
            _EXTENSION, BearerTokens(world.hydra, world.settings.token_cache_seconds)
        )
    return cast("BearerTokens", made)
