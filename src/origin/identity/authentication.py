"""Who is asking: bearer tokens and scopes, checked before anything else of a request (RFC 6750)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from flask import current_app, g, request
from werkzeug.exceptions import TooManyRequests

from origin.accounts.service.users import active_user_id
from origin.db.engine import Database
from origin.errors import CallerGone
from origin.identity.client import Introspection
from origin.identity.service.introspection import BearerTokens
from origin.identity.service.rate_limits import RateLimits
from origin.web.errors import Forbidden, Unauthorized
from origin.web.provided import provided

P = ParamSpec("P")
T = TypeVar("T")

_USER_IDS = "origin_user_ids"
_MAX_USER_IDS = 100_000
"""Some 10 MB."""
_CHALLENGE = 'Bearer realm="AccountService"'


@dataclass
class CurrentUser:
    """The account whose token this request carries; active, unless `requires` says otherwise."""

    id: int
    subject: str
    is_known_active: bool = True

    def found_active(self, active: object) -> None:
        """Take the word of a query that has looked at the account on its way.

        :raises CallerGone: it is disabled, or another's by now.
        """
        if not active:
            raise CallerGone
        self.is_known_active = True


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


def current_subject() -> str:
    """The subject of the token that this request carries, in a view under `requires_token`."""
    return cast("str", g.current_subject)


def requires_token(*scopes: str, cached: bool = True) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let every active token in that has all these scopes; see `current_subject`.

    Its subject may have no account, or a disabled one: the view must look. Otherwise as `requires`.
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            worth = _introspected(cached=cached)
            _check_scopes(worth, frozenset(scopes))
            user_id = active_user_id(provided(Database), worth.subject)
            _limit_rate(f"subject:{worth.subject}" if user_id is None else user_id)
            g.current_subject = worth.subject
            return view(*args, **kwargs)

        mark(guarded, Guard(scopes=scopes))
        return guarded

    return decorate


def requires(
    *scopes: str, cached: bool = True, looks: bool = False
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let only active accounts in whose token has all these scopes; see `current_user`.

    Stands above `@arguments`: the order is to authenticate, to authorise, to parse.

    :param cached: Whether an introspection of some seconds ago will do.
    :param looks: The view's first query tells whether the account is active, and the view passes
        that on to `CurrentUser.found_active` before it changes anything: one round trip less. What
        ends without, well or not, is looked at before any answer leaves. The view may run twice.
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            wanted = frozenset(scopes)
            user = g.current_user = _authenticate(wanted, cached=cached, looks=looks)
            if user.is_known_active:
                return view(*args, **kwargs)
            try:
                answer = view(*args, **kwargs)
                make_sure_active()
            except CallerGone:
                # Nothing has changed so far: once more, looking first.
                _known_user_ids().pop(user.subject, None)
                g.current_user = _authenticate(wanted, cached=cached, looks=False)
                return view(*args, **kwargs)
            except Exception:
                make_sure_active()
                raise
            return answer

        mark(guarded, Guard(scopes=scopes))
        return guarded

    return decorate


def make_sure_active() -> None:
    """See that the caller's account is active, where nobody has looked yet.

    :raises Unauthorized: it is disabled, or not there.
    :raises CallerGone: the account has another row by now.
    """
    user = current_user()
    if not user.is_known_active:
        user.found_active(_active_user_id(user.subject) == user.id)


def _authenticate(scopes: frozenset[str], *, cached: bool, looks: bool) -> CurrentUser:
    """The caller.

    :raises Unauthorized: no valid token of an active account.
    :raises Forbidden: the token has not all the scopes.
    :raises TooManyRequests: the account has made too many requests.
    :raises PeerError: Hydra can't tell now.
    """
    worth = _introspected(cached=cached)
    has_scopes = scopes <= worth.scopes
    user_id = _known_user_ids().get(worth.subject) if looks and has_scopes else None
    is_known_active = user_id is None
    if user_id is None:
        user_id = _active_user_id(worth.subject)
    _check_scopes(worth, scopes)
    _limit_rate(user_id)
    return CurrentUser(user_id, worth.subject, is_known_active)


def _introspected(*, cached: bool) -> Introspection:
    """What the request's token is worth.

    :raises Unauthorized: there is none, or it isn't active.
    :raises PeerError: Hydra can't tell now.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("No bearer token", _CHALLENGE)
    if not _is_plain(token):
        raise _invalid_token()
    worth = provided(BearerTokens).worth(token, cached=cached)
    if worth is None:
        raise _invalid_token()
    return worth


def _check_scopes(worth: Introspection, scopes: frozenset[str]) -> None:
    """See that the token has all these scopes.

    :raises Forbidden: it hasn't.
    """
    if not scopes <= worth.scopes:
        wanted = " ".join(sorted(scopes))
        raise Forbidden(
            f"The token lacks a scope of: {wanted}",
            f'{_CHALLENGE}, error="insufficient_scope", scope="{wanted}"',
        )


def _active_user_id(subject: str) -> int:
    """The id of this subject's account.

    :raises Unauthorized: there is none, or it is disabled.
    """
    user_id = active_user_id(provided(Database), subject)
    if user_id is None:
        raise _invalid_token()
    known = _known_user_ids()
    if len(known) >= _MAX_USER_IDS:
        known.clear()
    known[subject] = user_id
    return user_id


def _known_user_ids() -> dict[str, int]:
    """The ids of accounts by subject, as far as this app has met them.

    They never change; who uses one still has the database tell that it holds.
    """
    return cast("dict[str, int]", current_app.extensions.setdefault(_USER_IDS, {}))


def _limit_rate(caller: int | str) -> None:
    """Count this request of an account, by its id, or of a subject that has none.

    :raises TooManyRequests: they were too many.
    """
    limits = provided(RateLimits)
    if wait_s := limits.wait_s(caller):
        reason = f"More than {limits.per_minute} requests in a minute"
        raise TooManyRequests(reason, retry_after=wait_s)


def _is_plain(token: str) -> bool:
    """Tell whether it is one word of printable ASCII, as all tokens are."""
    return token.isascii() and token.isprintable() and " " not in token


def _invalid_token() -> Unauthorized:
    """One answer for all that is wrong with a token, or with the account behind it."""
    return Unauthorized("The token is not valid", f'{_CHALLENGE}, error="invalid_token"')
