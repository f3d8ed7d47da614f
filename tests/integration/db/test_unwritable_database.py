"""A read-only database, and values that the database can't store."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from werkzeug.test import TestResponse

from origin.db.sqlstates import Fault, fault_in
from origin.maintenance.service import pruning
from tests.support.database import rows
from tests.support.market import CONSUMPTION, PRODUCTION, Market
from tests.support.world import APP_URL, ggo_of

FOUR_BYTES = "\N{ELECTRIC LIGHT BULB}"


@contextmanager
def read_only(uri: str) -> Iterator[None]:
    """As after a failover: all connections lead to a read-only server.

    Connections opened meanwhile stay read-only afterwards, because PostgreSQL applies the setting at
    a connection's start.
    """
    url = make_url(uri)
    whose = f'ALTER ROLE "{url.username}" IN DATABASE "{url.database}"'
    rows(uri, f"{whose} SET default_transaction_read_only = on")
    rows(
        uri,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    try:
        yield
    finally:
        rows(
            uri,
            f"BEGIN READ WRITE; {whose} RESET default_transaction_read_only; COMMIT",
        )


def _compose(market: Market) -> TestResponse:
    return market.compose(_address(market), retires=[(10, CONSUMPTION)])


def _address(market: Market) -> str:
    (address,) = (ggo["address"] for ggo in market.listed("alice"))
    return str(address)


def _keyed_compose(market: Market) -> TestResponse:
    return market.compose(_address(market), transfers=[(10, "bob")], **{"Idempotency-Key": "k"})


def _forecast(market: Market, **fields: Any) -> TestResponse:
    body = {
        "account": "bob",
        "reference": "r",
        "sector": "DK1",
        "begin": "2020-01-01T00:00:00Z",
        "resolution": "PT1H",
        "forecast": [1],
        **fields,
    }
    return market.post("/forecast/submit", body, market.tokens["alice"])


def _subscribe(market: Market) -> TestResponse:
    body = {"url": "https://example.com/hook", "secret": "s" * 20}
    return market.post("/webhook/on-ggo-received/subscribe", body, market.tokens["alice"])


def _disable(market: Market) -> TestResponse:
    return market.post("/auth/disable-user", None, market.tokens["bob"])


def _login(market: Market) -> TestResponse:
    return market.client().get("/auth/login", query_string={"returnUrl": f"{APP_URL}/done"})


def _point(market: Market) -> TestResponse:
    return market.point("alice", "571313180400000099999")


def _ggo(market: Market) -> TestResponse:
    return market.ggo("alice", PRODUCTION, begin="2020-01-02T12:00:00Z", end="2020-01-02T13:00:00Z")


WRITES: list[Callable[[Market], TestResponse]] = [
    _compose,
    _keyed_compose,
    _forecast,
    _subscribe,
    _disable,
    _login,
    _point,
    _ggo,
]


@pytest.mark.parametrize("write", WRITES)
def test_a_write_to_a_read_only_database_is_a_transient_error(
    market: Market, database_uri: str, write: Callable[[Market], TestResponse]
):
    market.issue(1000)
    market.consume(amount=1000)
    with read_only(database_uri):
        answer = write(market)
        assert (answer.status_code, answer.json["success"]) == (503, False), answer.text
        assert answer.headers["Retry-After"]
        # Reading works.
        assert market.total("alice", category="stored") == 1000
    # A connection from that time fails once; then all connections are replaced.
    answers = [write(market).status_code for _ in range(2)]
    assert answers[-1] in {200, 303} or answers == [200, 400]


def test_readiness_fails_on_a_read_only_database(market: Market, database_uri: str):
    def database() -> str:
        return str(market.client().get("/health/ready").json["database"])

    assert database() == "up"
    with read_only(database_uri):
        assert database() == "down"
    assert database() == "up"


def test_workers_continue_when_the_database_is_writable_again(market: Market, database_uri: str):
    market.compose(market.issue(1000), transfers=[(10, "bob")])
    tasks: list[Callable[..., Any]] = [
        market.runtime.batch_runner.run_due,
        market.runtime.batch_runner.resubmit_stuck,
        market.runtime.datahub_jobs.run_due,
        lambda: pruning.prune(market.runtime.database),
    ]
    with read_only(database_uri):
        for task in tasks:
            with pytest.raises(DBAPIError) as raised:
                task()
            assert fault_in(raised.value) is Fault.TRANSIENT
    for task in (*tasks, market.runtime.delivery_runner.run_due):
        task()
    market.settle()
    assert market.total("bob", category="stored") == 10


def test_a_text_too_long_for_an_index_is_rejected_with_its_field(market: Market):
    """Its characters have four bytes each."""
    long = FOUR_BYTES * 126
    for name in ("sector", "technologyCode", "fuelCode"):
        answer = market.ggo("alice", PRODUCTION, **{name: long})
        assert answer.status_code == 400
        assert answer.json["message"] == {"ggo": {name: ["Longer than 500 bytes in UTF-8."]}}
    answer = _forecast(market, reference=FOUR_BYTES * 501)
    assert answer.status_code == 400
    assert answer.json["message"] == {"reference": ["Longer than 2000 bytes in UTF-8."]}
    assert _forecast(market, reference=FOUR_BYTES * 500).status_code == 200


def test_the_longest_accepted_texts_fit_into_every_index(market: Market):
    """Random letters, because PostgreSQL compresses repetitions."""

    def text(length: int) -> str:
        return secrets.token_hex(length)[:length]

    gsrn, codes = text(500), {name: text(500) for name in ("sector", "technologyCode", "fuelCode")}
    address = text(500)
    assert market.point("alice", gsrn, sector=codes["sector"]).status_code == 200
    answer = market.webhook(
        "on-ggo-issued", {"sub": "alice", "ggo": ggo_of(gsrn, address=address, **codes)}
    )
    assert (answer.status_code, answer.json) == (200, {"success": True})
    # Events of an unknown subject are stored unchanged.
    assert market.point(text(500), text(500)).status_code == 200
    assert _forecast(market, reference=text(1000)).status_code == 200


def test_a_text_that_passes_too_wide_a_limit_is_still_rejected_with_400(market: Market):
    """A field's limit might be too wide. After any other status DataHub would repeat the event for a day."""
    with pytest.raises(DBAPIError) as raised:
        market.rows(
            "INSERT INTO technologies SELECT string_agg(md5(n::text), ''), 'f', 't' "
            "FROM generate_series(1, 200) AS n"
        )
    with market.app.test_request_context():
        answer = market.app.make_response(market.app.handle_user_exception(raised.value))
    assert (answer.status_code, answer.json["success"]) == (400, False)
