"""No secret appears in the database's tables, in logs at DEBUG, or in responses."""

from collections.abc import Callable

import pytest
from sqlalchemy import inspect

from origin.db.models import Base
from origin.keys.derivation import ExtendedKey, metering_point_key, trade_branch_key
from origin.keys.sealing import access_token_context, master_key_context, refresh_token_context
from tests.support.market import CONSUMPTION, Market
from tests.support.world import CLIENT_SECRET, WEBHOOK_SECRET


def keys_and_tokens(market: Market) -> set[str]:
    """Return all secrets that the service stores of its users, opened."""
    found: set[str] = set()
    sealer = market.runtime.sealer
    for user in market.rows("SELECT subject, master_key, access_token, refresh_token FROM users"):
        master = ExtendedKey.from_base58(
            sealer.open(user.master_key, master_key_context(user.subject))
        )
        keys = [master, master.child(1), trade_branch_key(master)]
        keys += [metering_point_key(master, index) for index in range(3)]
        keys += [trade_branch_key(master).child(index) for index in range(3)]
        found |= {key.base58() for key in keys} | {key.private_key.hex() for key in keys}
        found.add(sealer.open(user.access_token, access_token_context(user.subject)))
        found.add(sealer.open(user.refresh_token, refresh_token_context(user.subject)))
    return found


def live(market: Market) -> list[str]:
    """Make typical and failing requests; return headers and bodies of all responses."""
    answers = []
    market.consume(amount=100)
    address = market.issue(1000)
    answers.append(market.compose(address, transfers=[(10, "bob")], retires=[(10, CONSUMPTION)]))
    market.sandbox.ledger.fault("/batches", status=500, code=17, body={"error": "?"})
    market.settle()
    [kept] = [ggo["address"] for ggo in market.listed("alice") if ggo["amount"] == 980]
    for fault in ({"status": 500}, {"status": 401, "times": 2}, {"cut": "before"}, {"body": "?"}):
        market.sandbox.datahub.fault("/measurements/consumed", **fault)
        answers.append(market.compose(kept, retires=[(1, CONSUMPTION)]))
        market.sandbox.datahub.clear_faults()
    market.sandbox.hydra.fault("/oauth2/introspect", status=500)
    answers.append(market.compose(kept, retires=[(1, CONSUMPTION)]))
    market.sandbox.hydra.fault("/oauth2/token", status=500)
    answers.append(market.login("alice"))
    market.sandbox.hydra.id_tokens("expired", 1)
    answers.append(market.login("alice"))
    answers += [market.login("carol"), market.login("alice")]
    market.runtime.user_tokens.refresh_due()
    market.sandbox.datahub.fault("/meteringpoints/set-key", status=500)
    market.point("carol", "571313180400000777")
    market.run_jobs()
    # An unexpected error, with a traceback in the log.
    market.rows("ALTER TABLE batches RENAME TO elsewhere")
    answers.append(market.compose(kept, transfers=[(1, "bob")]))
    with pytest.raises(Exception, match="batches"):
        market.runtime.batch_runner.run_due()
    market.rows("ALTER TABLE elsewhere RENAME TO batches")
    assert {answer.status_code for answer in answers} >= {200, 303, 500, 503}
    return [f"{answer.headers}{answer.text}" for answer in answers]


def test_no_secret_is_disclosed(
    new_market: Callable[..., Market], capfd: pytest.CaptureFixture[str]
):
    market = new_market(
        log_level="DEBUG", key_encryption_secrets="the new secret,the old secret", debug=True
    )
    secrets = {"the new secret", "the old secret", "the secret", WEBHOOK_SECRET, CLIENT_SECRET}
    secrets |= keys_and_tokens(market)
    answers = live(market)
    secrets |= keys_and_tokens(market) | set(market.tokens.values())
    logged = "".join(capfd.readouterr())
    assert "Traceback" in logged
    columns = {
        table: [
            column["name"] for column in inspect(market.runtime.database.engine).get_columns(table)
        ]
        for table in Base.metadata.tables
    }
    stored = "".join(
        str(market.rows(f"SELECT {table} FROM {table}"))  # noqa: S608 - names of our tables
        + str(market.rows(f'SELECT "{name}" FROM {table}'))  # noqa: S608 - as above
        for table, names in columns.items()
        for name in names
    )
    for secret in secrets:
        assert len(secret) > 5
        for place, text in (("log", logged), ("database", stored), ("answers", "".join(answers))):
            assert secret not in text, f"{secret} is in the {place}"
