"""A browser with a person: keeps cookies, follows redirects, fills in the provider's forms."""

from html.parser import HTMLParser
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import requests

from tests.support.world import APP_URL

RETURN_URL = f"{APP_URL}/done?page=1"
_MOST_STEPS = 20

Page = Literal["login", "consent"]


def changed(url: str, **changes: str | None) -> str:
    """Return the URL with changed parameters; None removes one."""
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **changes}
    kept = {name: value for name, value in query.items() if value is not None}
    return parts._replace(query=urlencode(kept)).geturl()


class Browser:
    """One browser with its cookies, and the service's URL."""

    def __init__(self, service_url: str) -> None:
        self._service_url = service_url
        self._session = requests.Session()

    def close(self) -> None:
        self._session.close()

    def log_in(self, subject: str) -> dict[str, str]:
        """Log in; return what the service adds to the return URL."""
        return self.finish(self.sign_in(self.begin(), subject))

    def begin(self) -> str:
        """Begin a login; return the provider's URL."""
        query = urlencode({"returnUrl": RETURN_URL})
        response = self._get(f"{self._service_url}/auth/login?{query}")
        assert response.status_code == 303, response.text
        return response.headers["Location"]

    def sign_in(self, url: str, subject: str, *, decline_at: Page | None = None) -> str:
        """Go through the provider's pages; return the service's URL to which it leads."""
        response = self._get(url)
        for _ in range(_MOST_STEPS):
            if response.is_redirect:
                url = urljoin(response.url, response.headers["Location"])
                if url.startswith(self._service_url):
                    return url
                response = self._get(url)
            else:
                assert response.status_code == 200, response.text
                response = self._answer(_Form(response.text), subject, decline_at)
        raise AssertionError(f"the provider's pages have no end, last: {response.url}")

    def callback(self, url: str) -> requests.Response:
        """Call the service's URL to which the provider led."""
        return self._get(url)

    def finish(self, url: str) -> dict[str, str]:
        """As `callback`, which must lead to the return URL; return what was added to that."""
        response = self.callback(url)
        assert response.status_code == 303, response.text
        back = response.headers["Location"]
        assert back.startswith(f"{RETURN_URL}&"), back
        added = dict(parse_qsl(urlsplit(back).query))
        del added["page"]
        return added

    def _answer(self, form: "_Form", subject: str, decline_at: Page | None) -> requests.Response:
        if form.fields["prompt"] == decline_at:
            return self._get(form.abort_url)
        entered = {"login": subject, "password": "any"}
        given = {name: value or entered[name] for name, value in form.fields.items()}
        return self._session.post(form.action, data=given, allow_redirects=False, timeout=10)

    def _get(self, url: str) -> requests.Response:
        return self._session.get(url, allow_redirects=False, timeout=10)


class _Form(HTMLParser):
    """The only form of a page, and its link for declining."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = self.abort_url = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given["action"]
        elif tag == "input":
            self.fields[given["name"]] = given.get("value", "")
        elif tag == "a" and given.get("href", "").endswith("/abort"):
            self.abort_url = given["href"]
