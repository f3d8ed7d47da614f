"""Our signatures, checked by the example in the document for integrators (doc/webhooks.md)."""

import hmac
import re
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from origin.webhooks.rules.signatures import check_secret, signed_headers
from origin.webhooks.rules.subscriptions import SecretNotBase64

_DOCUMENT = Path(__file__).parents[3] / "doc" / "webhooks.md"
SECRET, BODY = "a secret", b'{"sub": "anna"}'


@pytest.fixture
def example() -> dict[str, Callable[..., bool]]:
    """Return the functions of the document's example."""
    [code] = re.findall(r"```python\n(.*?)```", _DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - ours
    return names


def test_the_documents_example_accepts_our_signatures_and_no_others(example: dict[str, Any]):
    headers = signed_headers(SECRET, BODY, "an-id", int(time.time()))
    for name in ("is_genuine", "is_genuine_by_hub_signature"):
        check = example[name]
        assert check(SECRET, headers, BODY)
        assert not check("another", headers, BODY)
        assert not check(SECRET, headers, BODY + b" ")
    assert not example["is_genuine"](SECRET, {**headers, "webhook-id": "another"}, BODY)
    old = signed_headers(SECRET, BODY, "an-id", int(time.time()) - 1000)
    assert not example["is_genuine"](SECRET, old, BODY)


def test_the_example_of_standard_webhooks():
    """The values of its specification."""
    headers = signed_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b'{"test": 2432232314}',
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


NO_BASE64 = ["whsec_", "whsec_not base64!", "whsec_abc", "whsec_æøå", "whsec_YQ==\n", "whsec_a-_b"]


@pytest.mark.parametrize("secret", NO_BASE64)
def test_a_secret_with_the_prefix_must_be_base64(secret: str):
    with pytest.raises(SecretNotBase64):
        check_secret(secret)


@pytest.mark.parametrize("secret", NO_BASE64)
def test_the_key_of_an_older_secret_is_its_own_text(secret: str):
    """Such subscriptions are older than the check, and still work."""
    digest = hmac.digest(secret.encode(), b"id.1." + BODY, "sha256")
    headers = signed_headers(secret, BODY, "id", 1)
    assert headers["webhook-signature"] == f"v1,{b64encode(digest).decode()}"


@pytest.mark.parametrize("secret", ["", "a", "æ", "whsec", "WHSEC_æ", "whsec_YQ==", "whsec_+/+/"])
def test_other_secrets_are_accepted(secret: str):
    check_secret(secret)
