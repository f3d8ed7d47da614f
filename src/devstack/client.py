"""Clients of the service: a browser that logs in, and the HTTP API with an access token."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests
from authlib.integrations.requests_client import OAuth2Session

_TIMEOUT = (5, 30)
_PAGES_OF_A_LOGIN = 10
# Contract: peers, Hydra.
ALL_SCOPES = (
    "openid offline profile email disclosure meteringpoints.read measurements.read "
    "ggo.read ggo.transfer ggo.retire"
)


class UnexpectedAnswerError(RuntimeError):
    """A server's answer is not as expected; the message says how, and contains no token."""


class ApiRefusalError(RuntimeError):
    """The service rejected a request; `message` is a string or an object of messages by field."""

    def __init__(self, path: str, status: int, message: Any) -> None:
        super().__init__(f"{path}: {status} {message}")
        self.status = status
        self.message = message


@dataclass
class _Form:
    """An HTML form: its target, and the fields that it sends unchanged."""

    action: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)


def _is_sent(attributes: Mapping[str, str]) -> bool:
    ticked = attributes.get("type") not in {"checkbox", "radio"} or "checked" in attributes
    return "name" in attributes and ticked


class _FormParser(HTMLParser):
    """Finds the first form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.form: _Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the form's target and fields. Buttons are left out: `_submit` adds one."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and self.form is None:
            self.form = _Form(values.get("action", ""))
        elif tag == "input" and self.form is not None and _is_sent(values):
            self.form.fields.append((values["name"], values.get("value", "")))


class Browser:
    """A browser with its own cookies, for one user.

    `session` is its HTTP session; it ignores proxies and other settings of the environment.
    """

    def __init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def log_in(
        self, service_url: str, subject: str, return_url: str, *, accept: bool = True
    ) -> dict[str, str]:
        """Log in to the service at `service_url` as this subject on Hydra's login page.

        Returns the query (`success`, `msg`) of the service's redirect to `return_url`.
        """
        start = self.session.get(
            f"{service_url}/auth/login",
            params={"returnUrl": return_url},
            allow_redirects=False,
            timeout=_TIMEOUT,
        )
        return _query(self.follow(start, return_url, subject, accept=accept))

    def follow(
        self, answer: requests.Response, target: str, subject: str, *, accept: bool = True
    ) -> str:
        """Follow redirects, and fill in the login page, until a redirect leads to `target`.

        Returns the redirect's URL, which starts with `target`, without fetching it. Raises
        UnexpectedAnswerError if no such redirect comes.
        """
        for _ in range(_PAGES_OF_A_LOGIN):
            if answer.is_redirect:
                location = urljoin(answer.url, answer.headers["Location"])
                if location.startswith(target):
                    return location
                answer = self.session.get(location, allow_redirects=False, timeout=_TIMEOUT)
            else:
                answer = self._submit(answer, subject, "accept" if accept else "decline")
        raise UnexpectedAnswerError("The login redirects in a loop")

    def _submit(self, page: requests.Response, subject: str, action: str) -> requests.Response:
        where = urlsplit(page.url)
        parser = _FormParser()
        parser.feed(page.text)
        if page.status_code != HTTPStatus.OK or parser.form is None:
            raise UnexpectedAnswerError(
                f"Expected a login page, got {page.status_code} from {where.netloc}{where.path}: "
                f"{page.text[:300]}"
            )
        filled = [(name, value) for name, value in parser.form.fields if name != "subject"]
        return self.session.post(
            urljoin(page.url, parser.form.action),
            data=[*filled, ("subject", subject), ("action", action)],
            allow_redirects=False,
            timeout=_TIMEOUT,
        )


def _query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client registered at Hydra. Nothing needs to listen at its `redirect_uri`."""

    hydra_url: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str

    def token(self, browser: Browser, subject: str, scopes: str = ALL_SCOPES) -> str:
        """Get an access token of this subject with these scopes by the code flow with PKCE."""
        with OAuth2Session(
            self.client_id,
            self.client_secret,
            redirect_uri=self.redirect_uri,
            scope=scopes,
            code_challenge_method="S256",
        ) as oauth:
            oauth.trust_env = False
            verifier = secrets.token_urlsafe(48)
            url, _ = oauth.create_authorization_url(
                f"{self.hydra_url}/oauth2/auth", code_verifier=verifier
            )
            page = browser.session.get(url, allow_redirects=False, timeout=_TIMEOUT)
            back = browser.follow(page, self.redirect_uri, subject)
            token = oauth.fetch_token(
                f"{self.hydra_url}/oauth2/token",
                authorization_response=back,
                code_verifier=verifier,
                timeout=_TIMEOUT,
            )
            return str(token["access_token"])


def _content(path: str, answer: requests.Response, status: HTTPStatus) -> dict[str, Any]:
    """Return the response's JSON; ApiRefusalError unless it has this status."""
    try:
        content: dict[str, Any] = answer.json()
    except requests.JSONDecodeError as error:
        raise ApiRefusalError(path, answer.status_code, answer.text[:300]) from error
    if answer.status_code != status:
        raise ApiRefusalError(path, answer.status_code, content.get("message"))
    return content


class ApiClient:
    """A client of the service's HTTP API with one access token (contract: http-api, v2)."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def request(
        self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """POST a JSON body (None: an empty body) and return the response, whatever its status."""
        return self.session.post(
            f"{self.url}{path}",
            json=body,
            headers=dict(headers or {}),
            allow_redirects=False,
            timeout=_TIMEOUT,
        )

    def call(self, path: str, body: Any = None) -> dict[str, Any]:
        """POST a JSON body and return the response's JSON; ApiRefusalError unless it succeeds."""
        answer = self.request(path, body)
        content = _content(path, answer, HTTPStatus.OK)
        if not content.get("success"):
            raise ApiRefusalError(path, answer.status_code, content.get("message"))
        return content

    def get(self, path: str, *, wait_s: int = 0) -> dict[str, Any]:
        """GET a path of version 2 and return the response's JSON; ApiRefusalError unless it succeeds.

        `wait_s`: how long an operation's answer may wait until it is final.
        """
        answer = self.session.get(
            f"{self.url}{path}",
            headers={"Prefer": f"wait={wait_s}"},
            allow_redirects=False,
            timeout=_TIMEOUT,
        )
        return _content(path, answer, HTTPStatus.OK)

    def order(self, path: str, body: Any, *, wait_s: int = 0) -> dict[str, Any]:
        """Order by version 2, with a new Idempotency-Key; return the operation.

        ApiRefusalError unless it is accepted. `wait_s`: as for `get`.
        """
        headers = {"Idempotency-Key": secrets.token_hex(16), "Prefer": f"wait={wait_s}"}
        return _content(path, self.request(path, body, headers=headers), HTTPStatus.ACCEPTED)

    def account(self) -> str:
        """Return the account's id, which other users transfer to."""
        return str(self.call("/accounts")["accounts"][0]["id"])

    def ggos(self, **filters: Any) -> list[dict[str, Any]]:
        """Return all matching GGOs that the ledger has confirmed, ordered by begin."""
        listed: list[dict[str, Any]] = self.call("/ggo", {"filters": filters})["results"]
        return listed

    def total_wh(self, **filters: Any) -> int:
        """Return the sum of all matching GGOs in Wh; operations in flight count as done."""
        return int(self.call("/ggo/get-total-amount", {"filters": filters})["amount"])

    def compose(
        self,
        address: str,
        *,
        transfers: Iterable[Mapping[str, Any]] = (),
        retires: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Split the GGO at this address; ApiRefusalError if the service rejects it.

        `transfers`: `{"amount": Wh, "reference", "account"}`; `retires`: `{"amount": Wh, "gsrn"}`.
        """
        body = {"address": address, "transfers": list(transfers), "retires": list(retires)}
        self.call("/ggo/compose", body)
