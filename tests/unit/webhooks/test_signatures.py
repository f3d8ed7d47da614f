"""Our signatures, checked by what the document for integrators tells them to do."""

import re
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from origin.domain.signatures import signed_headers

_DOCUMENT = Path(__file__).parents[3] / "doc" / "webhooks.md"
SECRET, BODY = "a secret", b'{"sub": "anna"}'


@pytest.fixture
def example() -> dict[str, Callable[..., bool]]:
    """The functions of the document's example."""
    [code] = re.findall(r"```python\n(.*?)```", _DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - ours
    return names


def test_the_documents_example_takes_ours_and_nothing_else(example: dict[str, Any]):
    headers = signed_headers(SECRET, BODY, "an-id", int(time.time()))
    for name in ("is_genuine", "is_genuine_by_hub_signature"):
        check = example[name]
        assert check(SECRET, headers, BODY)
        assert not check("another", headers, BODY)
        assert not check(SECRET, headers, BODY + b" ")
    assert not example["is_genuine"](SECRET, {**headers, "webhook-id": "another"}, BODY)
    old = signed_headers(SECRET, BODY, "an-id", int(time.time()) - 1000)
    assert not example["is_genuine"](SECRET, old, BODY)


def test_standard_webhooks_own_example():
    """The values of its specification."""
    headers = signed_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b'{"test": 2432232314}',
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_that_only_looks_encoded_is_taken_as_it_is():
    with pytest.raises(ValueError, match="base64"):
        b64decode("not base64!", validate=True)
    assert signed_headers("whsec_not base64!", BODY, "id", 1)["webhook-id"] == "id"
