"""The service in this process, with a real database and the sandbox's Hydra and DataHub."""

import threading
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import text
from werkzeug.test import TestResponse

from origin.app import create_app
from origin.keys.sealing import master_key_context
from origin.runtime import Runtime, build_runtime
from origin.settings import Settings
from origin.telemetry.logs import configure_logging
from origin.web.provided import provide
from origin.webhooks.rules.signatures import SIGNATURE_HEADER, hub_signature

PROJECT_URL = "http://accounts.example"
WEBHOOK_SECRET = "the webhook secret"
CLIENT_SECRET = "sandbox-client-secret"
APP_URL = "http://app.example"
ALL_SCOPES = (
    "openid offline profile email disclosure meteringpoints.read measurements.read "
    "ggo.read ggo.transfer ggo.retire"
)


class Peer:
    """A server of the sandbox, controlled by its `/control` calls."""

    def __init__(self, url: str) -> None:
        self.url = url

    def control(self, path: str, body: Any = None, method: str = "POST") -> Any:
        response = requests.request(method, f"{self.url}/control/{path}", json=body, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def fault(self, **fault: Any) -> None:
        self.control("faults", fault)

    def clear_faults(self) -> None:
        self.control("faults", method="DELETE")

    def call_count(self, path: str) -> int:
        """Return how often a path was called since the last reset."""
        calls = self.control("calls", method="GET")["calls"]
        return sum(call["path"] == path for call in calls)


class CountingWakeups:
    """Counts wake-ups and wakes nobody: tests run the work themselves."""

    def __init__(self) -> None:
        self.datahub_jobs = 0
        self.deliveries = 0
        self.bulk = 0

    def batches_due(self, delay_s: float = 0) -> None:
        """Do nothing: these tests don't compose."""

    def datahub_jobs_due(self) -> None:
        self.datahub_jobs += 1

    def deliveries_due(self) -> None:
        self.deliveries += 1

    def bulk_due(self) -> None:
        self.bulk += 1


_ADDRESSES = {
    "database_uri",
    "hydra_url",
    "hydra_introspect_url",
    "datahub_service_url",
    "energy_type_service_url",
    "ledger_url",
}
"""Settings that only the runtime uses, which each world makes for itself."""

_idle_apps: dict[str, list[Flask]] = {}
"""Apps that no world uses, by their other settings. Making an app takes longer than most tests."""


def _shape(settings: Settings) -> str:
    """Return all settings by which apps differ."""
    return repr(
        [
            value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in settings
            if name not in _ADDRESSES
        ]
    )


class World:
    """One service with its database and peers."""

    def __init__(self, database_uri: str, hydra: Peer, datahub: Peer, **settings: Any) -> None:
        self.hydra = hydra
        self.datahub = datahub
        self.settings = Settings.of({**_settings(database_uri, hydra.url, datahub.url), **settings})
        self._shape = _shape(self.settings)
        idle = _idle_apps.setdefault(self._shape, [])
        self.app = self._borrowed = idle.pop() if idle else create_app(self.settings)
        configure_logging(self.settings)
        self.wakeups = CountingWakeups()
        self.use(build_runtime(self.settings, self.wakeups))

    def close(self) -> None:
        """Close the database's connections, and leave the app to the next world."""
        self.runtime.database.dispose()
        _idle_apps[self._shape].append(self._borrowed)

    def use(self, runtime: Runtime) -> None:
        """Let the app use this runtime."""
        self.runtime = runtime
        provide(self.app, vars(runtime).values())

    def environment(self) -> dict[str, str]:
        """Return the environment variables that yield these settings."""
        found = {}
        for name, value in self.settings:
            values = value if isinstance(value, list) else [value]
            texts = [
                each.get_secret_value() if isinstance(each, SecretStr) else str(each)
                for each in values
            ]
            found[name.upper()] = ",".join(texts)
        return found

    def client(self) -> FlaskClient:
        """Return a new browser."""
        return self.app.test_client()

    def rows(self, sql: str, **parameters: Any) -> list[Any]:
        with self.runtime.database.transaction() as session:
            result: Any = session.execute(text(sql), parameters)
            return list(result) if result.returns_rows else []

    def value(self, sql: str, **parameters: Any) -> Any:
        return self.rows(sql, **parameters)[0][0]

    def run_jobs(self) -> int:
        """Run all due DataHub jobs; return their number."""
        return self.runtime.datahub_jobs.run_due()

    def rotate_key(self, subject: str) -> None:
        """Seal the subject's master key anew, as a key rotation does."""
        sealer, context = self.runtime.sealer, master_key_context(subject)
        sealed = self.value("SELECT master_key FROM users WHERE subject = :s", s=subject)
        anew = sealer.seal(sealer.open(sealed, context), context)
        self.rows("UPDATE users SET master_key = :key WHERE subject = :s", key=anew, s=subject)

    def rotate_key_after(
        self, monkeypatch: pytest.MonkeyPatch, look_up: str, subject: str, *, times: int
    ) -> None:
        """Rotate the subject's key right after each of the next calls of the function `look_up`.

        :param look_up: The dotted name by which the code under test calls the function.
        """
        module, _, name = look_up.rpartition(".")
        original = getattr(import_module(module), name)
        left = iter(range(times))

        def look_up_and_rotate(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            if next(left, None) is not None:
                self.rotate_key(subject)
            return found

        monkeypatch.setattr(look_up, look_up_and_rotate)

    def make_jobs_due(self) -> None:
        self.rows("UPDATE datahub_jobs SET next_attempt_at = now() WHERE next_attempt_at > now()")

    def login(
        self, subject: str, client: FlaskClient | None = None, return_url: str = f"{APP_URL}/done"
    ) -> TestResponse:
        """Log in as a browser does; return the callback's response."""
        client = client or self.client()
        return client.get(self.consented(client, subject, return_url))

    def consented(
        self, client: FlaskClient, subject: str, return_url: str = f"{APP_URL}/done"
    ) -> str:
        """Begin a login and consent at Hydra; return the callback's path and query."""
        begun = client.get("/auth/login", query_string={"returnUrl": return_url})
        assert begun.status_code == 303, begun.text
        back = requests.get(
            f"{begun.location}&login_hint={subject}", allow_redirects=False, timeout=10
        )
        assert back.status_code == 303, back.text
        parts = urlsplit(back.headers["Location"])
        assert f"{parts.scheme}://{parts.netloc}" == PROJECT_URL
        return f"{parts.path}?{parts.query}"

    def new_user(self, subject: str) -> int:
        """Log a user in; return its id."""
        response = self.login(subject)
        assert query_of(response)["success"] == "1", response.location
        return int(self.value("SELECT id FROM users WHERE subject = :s", s=subject))

    def token(self, subject: str, scope: str = ALL_SCOPES, **more: Any) -> str:
        """Return a new access token."""
        body = {"sub": subject, "scope": scope, **more}
        return str(self.hydra.control("tokens", body)["access_token"])

    def post(
        self, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> TestResponse:
        """Call the API."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = b"" if body is None else orjson.dumps(body)
        return self.client().post(path, data=data, headers=headers)

    def webhook(self, event: str, body: Any, signature: str | None = None) -> TestResponse:
        """Send a webhook as DataHub does, with the right signature by default."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.client().post(
            f"/webhook/{event}",
            data=data,
            headers={SIGNATURE_HEADER: signature or hub_signature(WEBHOOK_SECRET, data)},
        )

    def point(self, subject: str, gsrn: str, **fields: Any) -> TestResponse:
        point = {"gsrn": gsrn, "type": "production", "sector": "DK1", **fields}
        return self.webhook("on-meteringpoint-available", {"sub": subject, "meteringpoint": point})

    def ggo(self, subject: str, gsrn: str, **fields: Any) -> TestResponse:
        return self.webhook("on-ggo-issued", {"sub": subject, "ggo": ggo_of(gsrn, **fields)})

    def listed(self, subject: str) -> list[dict[str, Any]]:
        """Return the subject's GGOs, as the API lists them."""
        response = self.post("/ggo", {"filters": {}}, self.token(subject))
        assert response.status_code == 200, response.text
        found: Any = response.json
        return list(found["results"])


def ggo_of(gsrn: str, **fields: Any) -> dict[str, Any]:
    """Return a GGO as DataHub reports it."""
    return {
        "address": "849c0b" + "7" * 64,
        "gsrn": gsrn,
        "begin": "2020-01-01T12:00:00Z",
        "end": "2020-01-01T13:00:00Z",
        "sector": "DK1",
        "amount": 100,
        "issueTime": "2020-01-02T00:00:00Z",
        "expireTime": "2050-01-01T00:00:00Z",
        "technologyCode": "T010000",
        "fuelCode": "F01040100",
        "emissions": {"CO2": 1.5},
        **fields,
    }


def query_of(response: TestResponse) -> dict[str, str]:
    """Return the query of the URL to which a response redirects."""
    return dict(parse_qsl(urlsplit(response.location).query))


def at_once(*calls: Any) -> list[Any]:
    """Make all of these calls at the same time; return their results."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []

    def run(place: int, call: Any) -> None:
        barrier.wait()
        try:
            results[place] = call()
        except BaseException as error:  # noqa: BLE001 - asserted below
            errors.append(error)

    threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return results


def _settings(database_uri: str, hydra_url: str, datahub_url: str) -> dict[str, Any]:
    return {
        "service_name": "accounts",
        "secret": "the secret",
        "cors_origins": APP_URL,
        "project_url": PROJECT_URL,
        "datahub_service_url": datahub_url,
        "ledger_url": "http://127.0.0.1:9",
        "energy_type_service_url": "http://127.0.0.1:9",
        "webhook_secret": WEBHOOK_SECRET,
        "hydra_url": hydra_url,
        "hydra_introspect_url": f"{hydra_url}/oauth2/introspect",
        "hydra_client_id": "account-service",
        "hydra_client_secret": CLIENT_SECRET,
        "redis_host": "127.0.0.1",
        "redis_port": 9,
        "redis_cache_db": 0,
        "redis_broker_db": 1,
        "redis_backend_db": 2,
        "database_uri": database_uri,
        "database_conn_poll_size": 20,
    }
