"""Authentication and authorization of a request, before anything else of it is read (RFC 6750)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from flask import g, request

from origin.db.engine import Database
from origin.errors import AccessTokenInvalid, AccessTokenMissing, RateLimited, ScopeMissing
from origin.identity.client import Introspection
from origin.identity.queries import active_user_id
from origin.identity.service.introspection import IntrospectionCache
from origin.identity.service.rate_limits import RateLimits
from origin.web.provided import provided

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class CurrentUser:
    """The active account whose access token this request carries.

    :ivar client: The client id of the token, if Hydra tells it.
    :ivar scopes: All scopes of the token.
    """

    id: int
    subject: str
    client: str | None = None
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Guard:
    """What a view demands of its caller: a token with all these scopes, a signature, or nothing.

    :ivar any_of: One of the scopes is enough.
    """

    scopes: tuple[str, ...] = ()
    any_of: bool = False
    is_signed: bool = False


def mark(view: Callable[P, T], guard: Guard) -> None:
    """Record a view's guard for the OpenAPI document. This alone guards nothing."""
    view.__dict__["origin_guard"] = guard


def guard_of(view: Callable[P, T]) -> Guard:
    """Return the guard that `mark` recorded at a view."""
    return cast("Guard", view.__dict__.get("origin_guard", Guard()))


def current_user() -> CurrentUser:
    """Return the caller, in a view under `requires`."""
    return cast("CurrentUser", g.current_user)


def current_subject() -> str:
    """Return the subject of the request's token, in a view under `requires_token`."""
    return cast("str", g.current_subject)


def current_account_id() -> int | None:
    """Return the id of the token's account, in a view under `requires_token`.

    None if the token's subject has no account, or a disabled one.
    """
    return cast("int | None", g.current_account_id)


def requires_token(*scopes: str, cached: bool = True) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Admit every active token that has all these scopes, even without an account.

    The view must handle a missing account: see `current_subject` and
    `current_account_id`. Otherwise as `requires`.
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            token = _introspected(cached=cached)
            _check_scopes(token.scopes, frozenset(scopes))
            user_id = active_user_id(provided(Database), token.subject)
            _limit_rate(f"subject:{token.subject}" if user_id is None else user_id)
            g.current_subject, g.current_account_id = token.subject, user_id
            return view(*args, **kwargs)

        mark(guarded, Guard(scopes=scopes))
        return guarded

    return decorate


def requires(
    *scopes: str, cached: bool = True, any_of: bool = False
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Admit only active accounts whose token has all these scopes; see `current_user`.

    Place it above `@arguments`: authenticate, then authorize, then parse.

    :param cached: Whether a cached introspection, some seconds old, is good enough.
    :param any_of: One of the scopes is enough. The view checks the rest (`check_scopes`).
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            g.current_user = _authenticate(frozenset(scopes), cached=cached, any_of=any_of)
            return view(*args, **kwargs)

        mark(guarded, Guard(scopes=scopes, any_of=any_of))
        return guarded

    return decorate


def check_scopes(scopes: Iterable[str]) -> None:
    """Check that the token has all these scopes, in a view under `requires`.

    :raises ScopeMissing: It lacks one.
    """
    _check_scopes(current_user().scopes, frozenset(scopes))


def _authenticate(scopes: frozenset[str], *, cached: bool, any_of: bool) -> CurrentUser:
    """Return the caller.

    :raises AccessTokenMissing: The request has no token.
    :raises AccessTokenInvalid: The token is not active, or has no active account.
    :raises ScopeMissing: The token lacks one of the scopes.
    :raises RateLimited: The account has made too many requests.
    :raises PeerError: Hydra cannot introspect the token now.
    """
    token = _introspected(cached=cached)
    user_id = active_user_id(provided(Database), token.subject)
    if user_id is None:
        raise AccessTokenInvalid
    if not (any_of and scopes & token.scopes):
        _check_scopes(token.scopes, scopes)
    _limit_rate(user_id)
    return CurrentUser(user_id, token.subject, token.client, token.scopes)


def _introspected(*, cached: bool) -> Introspection:
    """Return the introspection of the request's access token.

    :raises AccessTokenMissing: There is none.
    :raises AccessTokenInvalid: It is not active.
    :raises PeerError: Hydra cannot introspect the token now.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise AccessTokenMissing
    if not _is_plain(token):
        raise AccessTokenInvalid
    introspection = provided(IntrospectionCache).introspect(token, cached=cached)
    if introspection is None:
        raise AccessTokenInvalid
    return introspection


def _check_scopes(granted: frozenset[str], scopes: frozenset[str]) -> None:
    """Check that a token has all these scopes.

    :raises ScopeMissing: It lacks one.
    """
    if not scopes <= granted:
        raise ScopeMissing(scopes)


def _limit_rate(caller: int | str) -> None:
    """Count this request of an account, by its id, or of a subject without an account.

    :raises RateLimited: The caller has exceeded the limit per minute.
    """
    limits = provided(RateLimits)
    if wait_s := limits.wait_s(caller):
        raise RateLimited(limits.per_minute, wait_s)


def _is_plain(token: str) -> bool:
    """Return whether the token is one word of printable ASCII, as all access tokens are."""
    return token.isascii() and token.isprintable() and " " not in token
