"""Secrets are removed from logs."""

import json
import logging

import pytest

from origin.telemetry.formatters import JsonFormatter
from origin.telemetry.redaction import REDACTED, Redactor

XPRV = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


def line(message: str, *arguments: object, secrets: list[str] | None = None, **extra: object):
    record = logging.makeLogRecord(
        {"name": "test", "levelname": "INFO", "msg": message, "args": arguments, **extra}
    )
    text = JsonFormatter("service", Redactor(secrets or [])).format(record)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("message", "secret"),
    [
        ("sent Authorization: Bearer ory_at_Q2xhc3M.x-y_z", "ory_at_Q2xhc3M"),
        ("connecting to postgresql://me:dbpass@db:5432/x failed", "dbpass"),
        ("redis://:hush@cache:6379/0", "hush"),
        ("GET /auth/login/callback?code=c0de&state=st4te&scope=a", "c0de"),
        ("GET /auth/login/callback?code=c0de&state=st4te&scope=a", "st4te"),
        ("refresh_token=r3fresh&grant_type=refresh_token", "r3fresh"),
        ("""body was {"url": "https://a", "secret": "wh1sper"}""", "wh1sper"),
        ("{'client_secret': 'wh1sper'}", "wh1sper"),
        ("InstrumentationKey=00000000-1111-2222-3333-444444444444;x=y", "00000000-1111"),
        (f"master key {XPRV} derived", XPRV[:20]),
        (f"ID token {JWT}", "c2lnbmF0dXJl"),
    ],
)
def test_texts_that_look_like_secrets_are_removed_from_messages(message: str, secret: str):
    told = line(message)
    assert secret not in told
    assert REDACTED in told


def test_secrets_of_the_settings_are_removed_by_value():
    told = line("a %s b", "opensesame", secrets=["opensesame", "opensesame-longer"])
    assert json.loads(told)["message"] == f"a {REDACTED} b"
    assert "longer" not in line("opensesame-longer", secrets=["opensesame", "opensesame-longer"])


def test_nested_fields_are_removed_by_name():
    told = line(
        "x",
        access_token="hidden-1",
        headers={"Cookie": "hidden-2", "Accept": "json", "more": [{"x-hub-signature": "hidden-3"}]},
        raw=b"hidden-4",
        batch_id=7,
        state="PENDING",
        key_index=3,
    )
    assert "hidden" not in told
    entry = json.loads(told)
    assert entry["headers"] == {
        "Cookie": REDACTED,
        "Accept": "json",
        "more": [{"x-hub-signature": REDACTED}],
    }
    assert (entry["batch_id"], entry["state"], entry["key_index"]) == (7, "PENDING", 3)


def test_tracebacks_are_redacted_too():
    error = ValueError("cannot open postgresql://me:dbpass@db/x")
    told = line("failed", exc_info=(type(error), error, None))
    assert "dbpass" not in told
    assert "ValueError" in json.loads(told)["exception"]


@pytest.mark.parametrize(
    "message",
    [
        "GGO 849c0b, issued to metering point 571313180400000012, is new",
        "The ledger refuses a batch: code 31, state=PENDING",
        "Tokens of user 7 were not refreshed: Hydra: status 500",
        "http://datahub.example:8080/measurements?begin=2020-01-01",
        "No bearer token",
    ],
)
def test_other_texts_stay(message: str):
    assert json.loads(line(message))["message"] == message
