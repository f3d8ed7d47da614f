"""The URL to which a login returns the browser (contract: http-api, Accounts and login)."""

from collections.abc import Iterable
from urllib.parse import SplitResult, unquote_plus, urlencode, urlsplit, urlunsplit

from origin.errors import Rejected

ANY_ORIGIN = "*"
MAX_LENGTH = 4096

_OUTCOME = {"success", "msg"}
_DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host in lower case, port."""


class ReturnUrlNotAllowed(Rejected):
    """The login would lead back to an origin that is not among LOGIN_RETURN_ORIGINS."""

    code = "return_url_not_allowed"


class LoginStateUnknown(Rejected):
    """The login's state is unknown, used, expired, or another browser's."""

    code = "login_state_unknown"


def is_allowed(url: str, origins: Iterable[str]) -> bool:
    """Tell whether the URL is http(s) and of one of these origins; `*` stands for any origin.

    URLs that browsers and this parser might read differently are not allowed: URLs with white space,
    control characters, backslashes, credentials, or a host that is not ASCII.
    """
    origin = _origin(url)
    if origin is None:
        return False
    return any(each == ANY_ORIGIN or _origin(each) == origin for each in origins)


def with_result(url: str, parameters: dict[str, str]) -> str:
    """Return the URL with these parameters appended to its query.

    They replace the outcome (`success`, `msg`) of an earlier login.
    """
    parts = urlsplit(url)
    others = "&".join(part for part in parts.query.split("&") if _name(part) not in _OUTCOME)
    query = "&".join(part for part in (others, urlencode(parameters)) if part)
    return urlunsplit(parts._replace(query=query))


def _name(parameter: str) -> str:
    return unquote_plus(parameter.partition("=")[0])


def _origin(url: str) -> Origin | None:
    if len(url) > MAX_LENGTH or any(char <= " " or char in "\\\x7f" for char in url):
        return None
    try:
        parts = urlsplit(url)
        return _origin_of_parts(parts)
    except ValueError:
        # A port that is not a number, or an unclosed bracket.
        return None


def _origin_of_parts(parts: SplitResult) -> Origin | None:
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
        return None
    if not host.isascii():
        return None
    return parts.scheme, host, parts.port or _DEFAULT_PORTS[parts.scheme]
