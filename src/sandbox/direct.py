"""HTTP without proxies, for calls between the sandbox's parts."""

import requests


def direct_session() -> requests.Session:
    """Return a session that ignores proxies and netrc files of the environment."""
    session = requests.Session()
    session.trust_env = False
    return session
