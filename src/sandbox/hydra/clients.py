"""Which redirect URIs belong to a public client."""

from collections.abc import Iterable
from urllib.parse import urlsplit

_LOOPBACK = ("127.0.0.1", "::1")


def registered(redirect_uri: str, uris: Iterable[str]) -> bool:
    """Return whether a redirect URI is one of the registered ones.

    On a loopback address (not `localhost`) the port may be any (RFC 8252, section 7.3).
    """
    return any(redirect_uri == uri or _same_but_port(redirect_uri, uri) for uri in uris)


def allows_origin(origin: str, uris: Iterable[str]) -> bool:
    """Return whether one of these redirect URIs has this origin, on a loopback address with any port."""
    return any(registered(f"{origin}{urlsplit(uri).path}", [uri]) for uri in uris)


def _same_but_port(given: str, uri: str) -> bool:
    one, other = urlsplit(given), urlsplit(uri)
    return (
        other.scheme == "http"
        and other.hostname in _LOOPBACK
        and one.username is None
        and (one.scheme, one.hostname, one.path, one.query, one.fragment)
        == (other.scheme, other.hostname, other.path, other.query, other.fragment)
    )
