"""The receiver's hooks and its control calls (contract: peers, Webhook receivers).

Any path under `/hook` takes deliveries. Faults with `process` set change its answers; a delivery
is recorded whatever the answer.
"""

import base64
import binascii
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, request
from pydantic import BaseModel, ConfigDict

from sandbox.web import body_of, done, new_app, wait_seconds, wanted_count

STANDARD_PREFIX = "whsec_"


class Secret(BaseModel):
    """The secret of deliveries to `path`, or (None) to all paths without a secret."""

    model_config = ConfigDict(extra="forbid")

    secret: str
    path: str | None = None


class Inbox:
    """The deliveries in order of arrival. Thread-safe; `changed` is notified of each."""

    def __init__(self, secret: str | None) -> None:
        self.changed = threading.Condition()
        self._first_secret = secret
        self.reset()

    def reset(self) -> None:
        """Forget the deliveries, and the secrets set since the start."""
        with self.changed:
            self.deliveries: list[dict[str, Any]] = []
            self.secrets: dict[str | None, str] = {}
            if self._first_secret is not None:
                self.secrets[None] = self._first_secret
            self.changed.notify_all()

    def keep(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Record a delivery; header names must be in lower case."""
        secret = self.secrets.get(path, self.secrets.get(None))
        delivery = {
            "at": datetime.now(UTC).isoformat(),
            "path": path,
            "headers": dict(headers),
            "body": body.decode(errors="replace"),
            "json": _as_json(body),
            "verified": None if secret is None else hub_signature_holds(secret, headers, body),
            "standard_verified": (
                None if secret is None else standard_signature_holds(secret, headers, body)
            ),
        }
        with self.changed:
            self.deliveries.append(delivery)
            self.changed.notify_all()

    def listing(self, path: str | None, count: int, seconds: float) -> list[dict[str, Any]]:
        """Wait up to `seconds` for `count` deliveries (to a path), and return them."""

        def found() -> list[dict[str, Any]]:
            return [one for one in self.deliveries if path in (None, one["path"])]

        with self.changed:
            self.changed.wait_for(lambda: len(found()) >= count, seconds)
            return found()


def hub_signature_holds(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether `x-hub-signature` is right for this body."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    expected = f"sha256={base64.b64encode(digest).decode()}"
    return hmac.compare_digest(expected, headers.get("x-hub-signature", ""))


def standard_signature_holds(secret: str, headers: Mapping[str, str], body: bytes) -> bool | None:
    """Return whether the Standard Webhooks signature is right; None if there are no such headers."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    if not any(name in headers for name in names):
        return None
    delivery_id, timestamp, signatures = (headers.get(name, "") for name in names)
    try:
        key = (
            base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)
            if secret.startswith(STANDARD_PREFIX)
            else secret.encode()
        )
    except binascii.Error:
        return False
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in signatures.split(" ")


def create_app(secret: str | None = None) -> Flask:
    """Return the receiver application; `secret` is the default secret of deliveries."""
    inbox = Inbox(secret)
    app = new_app("receiver", reset=inbox.reset)

    @app.post("/hook")
    @app.post("/hook/<path:_name>")
    def hook(_name: str = "") -> Response:
        headers = {name.lower(): value for name, value in request.headers}
        inbox.keep(request.path, headers, request.get_data())
        return done()

    @app.get("/control/deliveries")
    def deliveries() -> Response:
        count = wanted_count()
        return done(deliveries=inbox.listing(request.args.get("path"), count, wait_seconds()))

    @app.post("/control/secrets")
    def set_secret() -> Response:
        wish = body_of(Secret)
        with inbox.changed:
            inbox.secrets[wish.path] = wish.secret
        return done()

    return app


def _as_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
