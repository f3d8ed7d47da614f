"""HTTP between the sandbox's own parts."""

import requests


def direct_session() -> requests.Session:
    """Return a session that goes straight to its peer: no proxy or netrc of the environment."""
    session = requests.Session()
    session.trust_env = False
    return session
