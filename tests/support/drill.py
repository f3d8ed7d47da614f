"""A market whose database can be backed up, restored and recovered."""

from typing import Any
from urllib.parse import urlsplit

from click.testing import Result

from devstack.configured import Postgres
from origin.app import create_app
from origin.runtime import build_runtime
from tests.support.auditor import audit, read_books, read_ledger
from tests.support.market import Market

_STANDING = """
SELECT ggos.address, ggos.amount, owner.subject, ggos.begin, ggos."end", ggos.sector,
    ggos.technology_code, ggos.issue_gsrn, ggos.key_mismatch, parent.address, ggos.split_position,
    sender.subject, ggos.key_index, ggos.stored, ggos.retired, ggos.locked, ggos.retire_gsrn,
    ggos.retire_address, ggos.issue_time, ggos.expire_time
FROM ggos JOIN users AS owner ON owner.id = ggos.owner_id
LEFT JOIN ggos AS parent ON parent.id = ggos.parent_id
LEFT JOIN users AS sender ON sender.id = ggos.sender_id
ORDER BY ggos.address
"""
_POINTS = """
SELECT subject, gsrn, type, sector, key_index FROM metering_points JOIN users ON users.id = user_id
ORDER BY gsrn
"""


class Drill:
    """A market whose database can be backed up and restored."""

    def __init__(self, market: Market, postgres: Postgres) -> None:
        self.market, self._postgres = market, postgres
        self.uri = market.settings.database_uri.get_secret_value().replace("+psycopg2", "")
        self._name = urlsplit(self.uri).path.strip("/")
        self.backup_name = f"{self._name}_backup"

    def backup(self) -> None:
        self.market.runtime.database.dispose()
        self._postgres.create_database(self.backup_name, template=self._name)

    def restore(self, **settings: Any) -> None:
        """What was committed since the backup is gone, and all processes are new."""
        self.market.runtime.database.dispose()
        self._postgres.drop_database(self._name)
        self._postgres.create_database(self._name, template=self.backup_name)
        self.restart(**settings)

    def restart(self, **settings: Any) -> None:
        market = self.market
        market.runtime.database.dispose()
        market.settings = market.settings.model_copy(update=settings)
        market.app = create_app(market.settings)
        market.use(build_runtime(market.settings, market.wakeups))

    def recover(self, *arguments: str) -> Result:
        return self.market.app.test_cli_runner().invoke(
            args=["ledger", "recover", "--rate", "100000", *arguments]
        )

    def audit(self) -> list[str]:
        return audit(read_books(self.uri), read_ledger(self.market.sandbox.urls["ledger"]))

    def standing(self) -> list[Any]:
        return [tuple(row) for row in self.market.rows(_STANDING)]

    def points(self) -> list[Any]:
        return [tuple(row) for row in self.market.rows(_POINTS)]

    def tables(self) -> dict[str, list[Any]]:
        """Return the rows of all tables that a recovery may change."""
        names = ("metering_points", "datahub_jobs", "webhook_deliveries", "recoveries")
        rows = {name: self.market.rows(f"SELECT * FROM {name} ORDER BY 1") for name in names}  # noqa: S608
        return self.market.snapshot() | rows


def one(market: Market, subject: str, amount: int) -> str:
    """Return the address of the subject's GGO of this amount."""
    [found] = [ggo["address"] for ggo in market.listed(subject) if ggo["amount"] == amount]
    return str(found)


def stored(market: Market, subject: str) -> list[dict[str, Any]]:
    """Return the GGOs that the subject may compose, by the API."""
    body = {"filters": {"category": "stored"}}
    answer = market.post("/ggo", body, market.tokens[subject])
    assert answer.status_code == 200, answer.text
    return list(answer.json["results"])


def composed(market: Market, address: str, **order: Any) -> None:
    answer = market.compose(address, **order)
    assert answer.status_code == 200, answer.text
    market.settle()
