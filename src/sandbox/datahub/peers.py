"""Clients for DataHub's own peers: Hydra checks tokens, the ledger takes issued GGOs."""

from typing import Any, Protocol

import requests

from sandbox.direct import direct_session
from sandbox.web import RefusalError

TIMEOUT = (2, 10)
"""Seconds to connect and to read."""


class TokenCheck(Protocol):
    """Checks access tokens."""

    def subject(self, token: str) -> str | None:
        """Return the user of an active access token, or None."""


class IssuingBody(Protocol):
    """The operations that only the issuing body may do on the ledger."""

    def publish(self, measurements: list[dict[str, Any]]) -> None:
        """Publish measurements on the ledger."""

    def issue(self, ggos: list[dict[str, Any]]) -> None:
        """Issue GGOs on published measurements."""


class Introspection:
    """Introspects each token at Hydra; RefusalError 503 if Hydra doesn't answer properly."""

    def __init__(self, url: str, credentials: tuple[str, str] | None = None) -> None:
        self._url = url
        self._credentials = credentials

    def subject(self, token: str) -> str | None:
        """Return the user of an active access token, or None."""
        # One connection per call: `requests` takes an interim response for the final one, and would
        # read the final one as the answer to the next call.
        try:
            with direct_session() as http:
                answer = http.post(
                    self._url,
                    data={"token": token, "scope": ""},
                    headers={"Accept": "application/json"},
                    auth=self._credentials,
                    timeout=TIMEOUT,
                )
            answer.raise_for_status()
            found = answer.json()
        except requests.RequestException as error:
            raise RefusalError(503, "Tokens can't be checked now") from error
        if not found.get("active") or found.get("token_use") == "refresh_token":
            return None
        return str(found["sub"])


class LedgerControl:
    """Issues through the control calls of the sandbox's ledger; RefusalError 502 if it refuses."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = direct_session()

    def publish(self, measurements: list[dict[str, Any]]) -> None:
        """Publish measurements on the ledger."""
        self._post("/control/publish", measurements)

    def issue(self, ggos: list[dict[str, Any]]) -> None:
        """Issue GGOs on published measurements."""
        self._post("/control/issue", ggos)

    def _post(self, path: str, body: list[dict[str, Any]]) -> None:
        try:
            answer = self._http.post(self._url + path, json=body, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise RefusalError(502, "The ledger does not answer") from error
        if answer.status_code != 200:
            raise RefusalError(502, f"The ledger refused: {answer.text}")
