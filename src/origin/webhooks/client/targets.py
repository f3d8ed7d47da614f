"""The URLs of receivers, taken apart and checked."""

from dataclasses import dataclass

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from origin.webhooks.rules.subscriptions import UrlInvalid, UrlSchemeNotAllowed

MAX_URL_LENGTH = 2000
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """Where to connect to, and the path and query to request there."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port; targets with the same authority share connections and limits."""
        return f"{self.host}:{self.port}"


def target_of(url: str) -> Target:
    """Take a URL apart.

    :raises UrlSchemeNotAllowed: it is neither http nor https.
    :raises UrlInvalid: it has no valid host or port, has credentials, or is too long.
    """
    try:
        parts = parse_url(url)
    except LocationParseError:
        raise UrlInvalid from None
    if parts.scheme not in DEFAULT_PORTS:
        raise UrlSchemeNotAllowed
    if not parts.host or parts.auth is not None or len(url.encode()) > MAX_URL_LENGTH:
        raise UrlInvalid
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    if not 0 < port < 2**16 or any(character <= " " for character in url):
        raise UrlInvalid
    path = parts.path or "/"
    path = path if parts.query is None else f"{path}?{parts.query}"
    return Target(parts.scheme, parts.host.strip("[]"), port, path)
