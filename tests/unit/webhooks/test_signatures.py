"""Our signatures, checked by the receiver in the document for integrators (doc/integrating/webhooks.md)."""

import hmac
import sqlite3
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from devstack.processes import ROOT
from origin.webhooks.rules.signatures import check_secret, signed_headers
from origin.webhooks.rules.subscriptions import SecretNotBase64
from tests.support.document_blocks import blocks

DOCUMENT = ROOT / "doc/integrating/webhooks.md"

SECRET, BODY = "a secret", b'{"sub": "anna"}'


@pytest.fixture(params=["a secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "æ"])
def receiver(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Receiver":
    """The document's receiver, with one secret after the other."""
    [code] = [block.text for block in blocks(DOCUMENT) if block.file == "receiver.py"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOK_SECRET", request.param)
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(code, names)  # noqa: S102 - ours
    return Receiver(request.param, names["app"].test_client(), tmp_path / "events.db")


@dataclass
class Receiver:
    """The receiver's secret, a client of it, and its database."""

    secret: str
    http: FlaskClient
    database: Path

    def post(self, headers: Mapping[str, str], body: bytes = BODY) -> int:
        return self.http.post("/hooks", headers=headers, data=body).status_code

    def signed(self, webhook_id: str = "an-id", age_s: int = 0) -> dict[str, str]:
        return signed_headers(self.secret, BODY, webhook_id, int(time.time()) - age_s)

    def events(self) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self.database)) as database:
            return database.execute("SELECT id, body FROM events ORDER BY id").fetchall()


def test_the_documents_receiver_stores_each_event_once(receiver: Receiver):
    headers = receiver.signed()
    assert receiver.post(headers) == 204
    assert receiver.post(receiver.signed(age_s=60)) == 204
    assert receiver.post({name.upper(): value for name, value in headers.items()}) == 204
    two = f"v1,bm90IHRoaXMgb25l {headers['webhook-signature']}"
    assert receiver.post({**headers, "webhook-signature": two}) == 204
    assert receiver.post(receiver.signed("bn-id")) == 204
    assert receiver.events() == [("an-id", BODY.decode()), ("bn-id", BODY.decode())]


def test_the_documents_receiver_takes_nothing_else(receiver: Receiver):
    headers = receiver.signed()
    assert receiver.post(headers, BODY + b" ") == 401
    assert receiver.post(receiver.signed(age_s=400)) == 401
    assert receiver.post(signed_headers("another", BODY, "an-id", int(time.time()))) == 401
    for name, value in headers.items():
        assert receiver.post({**headers, name: f"{value}0"}) == 401
        assert receiver.post({**headers, name: "æ"}) == 401
        assert receiver.post({each: headers[each] for each in headers if each != name}) == 401
    assert receiver.events() == []


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
