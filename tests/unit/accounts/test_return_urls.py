"""The URLs to which a login may return."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.accounts.rules import is_allowed, with_result

ORIGINS = ["https://app.example", "http://localhost:8080", "https://with-slash.example/"]


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example",
        "https://app.example/",
        "https://app.example:443/path?query=1#fragment",
        "https://APP.example/",
        "HTTPS://app.example/",
        "https://app.example/å?to=https://evil.example",
        "http://localhost:8080/x",
        "https://with-slash.example/x",
    ],
)
def test_allowed(url: str) -> None:
    assert is_allowed(url, ORIGINS)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "//app.example",
        "app.example",
        "http://app.example/",
        "https://app.example:8443/",
        "http://localhost/",
        "https://app.example.evil.com/",
        "https://evil.com/https://app.example",
        "https://evilapp.example/",
        "https://app.example@evil.com/",
        "https://user@app.example/",
        "https://user:pass@app.example/",
        "https://@app.example/",
        "https://evil.com\\@app.example/",
        "https://app.example\\.evil.com/",
        "https:\\\\app.example/",
        "https:/app.example/",
        "https:app.example",
        "https:///app.example/",
        " https://app.example/",
        "https://app.example /",
        "https://app.example/\n",
        "https://app.exa\tmple/",
        "https://app.example\0.evil.com/",
        "https://app.example./",
        "https://app%2eexample/",
        "https://app。example/",  # Browsers treat this full stop as a dot.
        "https://app.example:port/",
        "https://app.example:99999/",
        "https://[app.example/",
        "javascript:alert(1)//https://app.example",
        "data:text/html,x",
        "https://app.example/" + "x" * 5000,
    ],
)
def test_not_allowed(url: str) -> None:
    assert not is_allowed(url, ORIGINS)


def test_any_origin() -> None:
    assert is_allowed("https://anything.example:1/x", ["*"])
    for url in ("javascript:alert(1)", "//evil.example", "https://a@b", "nothing"):
        assert not is_allowed(url, ["*"])


def test_no_origin() -> None:
    assert not is_allowed("https://app.example", [])


@given(st.text())
def test_never_raises(url: str) -> None:
    assert not is_allowed(url, ORIGINS) or urlsplit(url).hostname


@given(st.text(max_size=20), st.text(max_size=20))
def test_nothing_around_an_origin_makes_another(before: str, after: str) -> None:
    url = f"https://{before}app.example{after}/"
    if is_allowed(url, ["https://app.example"]):
        assert urlsplit(url).hostname == "app.example"
        assert urlsplit(url).port in (None, 443)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", "https://a.example?success=1"),
        ("https://a.example/x#f", "https://a.example/x?success=1#f"),
        ("https://a.example/x?", "https://a.example/x?success=1"),
        ("https://a.example/x?a=%20&b#f", "https://a.example/x?a=%20&b&success=1#f"),
        # The outcome of an earlier login is replaced.
        ("https://a.example/x?success=0&a=1&m%73g=no", "https://a.example/x?a=1&success=1"),
        ("https://a.example/x?success=0", "https://a.example/x?success=1"),
        ("https://a.example/x?successes=1&&b", "https://a.example/x?successes=1&&b&success=1"),
    ],
)
def test_result_is_appended(url: str, expected: str) -> None:
    assert with_result(url, {"success": "1"}) == expected


@given(st.text())
def test_the_message_is_passed_on_unchanged(message: str) -> None:
    try:
        message.encode()
    except UnicodeEncodeError:
        return
    url = with_result("https://a.example/?q=1", {"success": "0", "msg": message})
    query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    assert query == {"q": "1", "success": "0", "msg": message}
