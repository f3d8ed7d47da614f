"""Balances and entries by the API: their rules, their moments, and rows of earlier versions."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from threading import Event
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from origin.balances.queries import moments as moment_queries
from origin.balances.rules.balance import GroupBy, MomentOpen
from origin.balances.service import moments
from tests.support.account_book import AMOUNTS
from tests.support.entries_fold import check_folds, check_identity, fold_by_group, read_entries
from tests.support.market import BOBS_CONSUMPTION, CONSUMPTION, Market
from tests.support.waiting import eventually
from tests.support.world import at_once

Ask = Callable[..., TestResponse]
Told = Callable[..., Any]


def expires_in(market: Market, address: str, seconds: float) -> datetime:
    """Let a GGO expire so soon; return when."""
    sql = (
        "UPDATE ggos SET expire_time = clock_timestamp() + make_interval(secs => :seconds) "
        "WHERE address = :address RETURNING expire_time"
    )
    at: datetime = market.value(sql, seconds=seconds, address=address)
    return at


def nonzero(balance: dict[str, int]) -> dict[str, int]:
    return {name: amount for name, amount in balance.items() if amount}


def test_an_order_moves_wh_from_bucket_to_bucket(market: Market, told: Told):
    market.consume()
    address = market.issue(1000)
    wishes: Any = {"transfers": [(300, "bob"), (100, "alice")], "retires": [(200, CONSUMPTION)]}
    assert market.compose(address, **wishes).status_code == 200
    in_flight = {"issued": 1000, "available": 500, "pendingOut": 300, "pendingRetired": 200}
    assert nonzero(told("/v2/balances")["total"]) == in_flight
    assert nonzero(told("/v2/balances", "bob")["total"]) == {"pendingIn": 300}
    market.settle()
    assert nonzero(told("/v2/balances")["total"]) == {
        "issued": 1000,
        "available": 500,
        "sent": 300,
        "retired": 200,
    }
    assert nonzero(told("/v2/balances", "bob")["total"]) == {"received": 300, "available": 300}
    [received] = told("/v2/entries", "bob")["results"]
    assert (received["kind"], received["counterpart"]) == ("receive", "alice")
    assert (received["reference"], received["operation"]) == ("ref 0", None)
    lines = told("/v2/entries")["results"]
    assert [(each["kind"], each["from"], each["to"], each["amount"]) for each in lines] == [
        ("issue", "outside", "available", 1000),
        ("send", "available", "pendingOut", 300),
        ("retire", "available", "pendingRetired", 200),
        ("send", "pendingOut", "outside", 300),
        ("retire", "pendingRetired", "retired", 200),
    ]
    operations = {each["operation"] for each in lines[1:]}
    assert len(operations) == 1
    [operation] = operations
    assert told(f"/v2/entries?operation={operation}")["results"] == lines[1:]
    assert told("/v2/entries?kind=issue,retire")["results"] == [lines[0], lines[2], lines[4]]


def test_pages_join_to_the_whole_list(market: Market, told: Told, ask: Ask):
    for place in range(3):
        market.consume(begin=market.hour(place))
        address = market.issue(100, begin=market.hour(place))
        market.compose(address, transfers=[(10, "bob"), (20, "bob")], retires=[(5, CONSUMPTION)])
    market.settle()
    whole = told("/v2/entries")["results"]
    assert len(whole) == 3 * 7
    for limit in (1, 4):
        assert read_entries(told, limit=limit) == whole
    cut = told("/v2/entries?limit=4")["nextCursor"]
    assert ask(f"/v2/entries?cursor={cut}", "bob").json["code"] == "invalid_cursor"
    assert ask(f"/v2/entries?kind=send&cursor={cut}").json["code"] == "invalid_cursor"
    middle = whole[9]["at"]
    before = told(f"/v2/entries?to={quote(middle)}")["results"]
    assert before + told(f"/v2/entries?from={quote(middle)}")["results"] == whole


def test_expiry_counts_to_the_second(market: Market, told: Told):
    """What is in flight stays so, what remains of it expires, and what comes back has expired."""
    market.consume()
    kept, split = market.issue(70), market.issue(100, begin=market.hour(1))
    market.compose(split, transfers=[(60, "bob")])
    for address in (kept, split):
        expires_in(market, address, 0.5)
    at = market.value("SELECT max(expire_time) FROM ggos WHERE address = :a", a=kept)
    market.rows("UPDATE ggos SET expire_time = :at", at=at)
    eventually(lambda: market.value("SELECT clock_timestamp()") > at, "they have expired")
    just_before = quote((at - timedelta(microseconds=1)).isoformat())
    assert nonzero(told(f"/v2/balances?at={just_before}")["total"]) == {
        "issued": 170,
        "available": 110,
        "pendingOut": 60,
    }
    expired = {"issued": 170, "expired": 110, "pendingOut": 60}
    assert nonzero(told(f"/v2/balances?at={quote(at.isoformat())}")["total"]) == expired
    lines = told("/v2/entries?kind=expire")["results"]
    assert [(each["amount"], each["at"]) for each in lines] == [
        (70, at.isoformat()),
        (40, at.isoformat()),
    ]
    before = check_folds(told)
    market.settle()
    assert check_folds(told)["issued"] == before["issued"]
    received = told("/v2/balances", "bob")["total"]
    assert nonzero(received) == {"received": 60, "expired": 60}
    [arrived] = told("/v2/entries", "bob")["results"]
    assert (arrived["from"], arrived["to"]) == ("outside", "expired")
    assert told("/v2/entries?kind=expire")["results"] == lines


def test_groups_have_the_label_and_the_local_month(market: Market, told: Told):
    market.rows("INSERT INTO technologies VALUES ('T010000', 'F01040100', 'Wind')")
    begin = datetime(2020, 1, 31, 22, tzinfo=UTC)
    market.issue(1, begin=begin, technologyCode="T010000", fuelCode="F01040100")
    market.issue(2, begin=begin + timedelta(hours=1))
    market.issue(4, begin=begin + timedelta(hours=2))
    query = "/v2/balances?groupBy=month,technology&timeZone=Europe/Copenhagen"
    answer = told(query)
    assert [(each["group"], each["available"]) for each in answer["groups"]] == [
        (["2020-01", "Wind"], 1),
        (["2020-02", "Unknown"], 6),
    ]
    assert answer["total"]["available"] == 7
    utc = told("/v2/balances?groupBy=month")["groups"]
    assert [(each["group"], each["available"]) for each in utc] == [
        (["2020-01"], 3),
        (["2020-02"], 4),
    ]
    lines = read_entries(told)
    folded = fold_by_group(lines, ["month", "technology"], answer["at"], "Europe/Copenhagen")
    assert {group: sums["available"] for group, sums in folded.items()} == {
        tuple(each["group"]): each["available"] for each in answer["groups"]
    }


def test_months_are_grouped_by_rules_that_postgresql_need_not_know(market: Market):
    """PostgreSQL's time zones may be older than Python's."""
    rules = files("tzdata.zoneinfo.America").joinpath("New_York")
    with rules.open("rb") as file:
        zone = ZoneInfo.from_file(file, key="America/Newer_Than_PostgreSQL")
    begin = datetime(2020, 4, 1, 2, tzinfo=UTC)
    for place in range(4):
        market.issue(1, begin=begin + timedelta(hours=place))
    service = market.runtime.balances
    groups = service.balances(market.alice, None, [GroupBy.MONTH], zone).groups
    assert [(each.values, each.amounts["available"]) for each in groups] == [
        (("2020-03",), 2),
        (("2020-04",), 2),
    ]


def test_a_moment_before_the_account_has_zeros_and_the_future_is_rejected(
    market: Market, told: Told, ask: Ask
):
    market.issue()
    before = told("/v2/balances?at=2000-01-01T00:00:00Z&groupBy=sector")
    assert before == {
        "at": "2000-01-01T00:00:00+00:00",
        "total": dict.fromkeys(AMOUNTS, 0),
        "groups": [],
    }
    ahead = ask("/v2/balances?at=2999-01-01T00:00:00Z")
    assert (ahead.status_code, ahead.json["code"]) == (400, "moment_ahead")
    for query in (
        "at=2026-01-01T00:00:00",
        "at=2026-01-01",
        "groupBy=owner",
        "timeZone=Mars",
        "x=1",
    ):
        assert ask(f"/v2/balances?{query}").json["code"] == "schema_violated", query
    for query in ("operation=7", "kind=gift", "limit=0", "from=2026-01-02&to=2026-01-01"):
        assert ask(f"/v2/entries?{query}").status_code == 400, query


class _OpenOrder:
    """An order of Alice's whose transaction is written but not committed."""

    def __init__(self, market: Market, address: str) -> None:
        self._connection = market.runtime.database.engine.connect()
        self._connection.execute(
            text(
                "UPDATE ggos SET stored = false, locked = true, retired = true, retire_gsrn = :gsrn, "
                "retire_address = 'm', spent_at = entry_time() WHERE address = :address"
            ),
            {"address": address, "gsrn": CONSUMPTION},
        )
        self._connection.execute(
            text(
                "INSERT INTO batches (user_id, ggo_id, created_at, moved) "
                "SELECT owner_id, id, spent_at, amount FROM ggos WHERE address = :address"
            ),
            {"address": address},
        )

    def commit(self) -> None:
        self._connection.commit()
        self._connection.close()


def test_an_order_that_no_transaction_follows_is_noticed(market: Market):
    """PostgreSQL's snapshots don't list it."""
    order = _OpenOrder(market, market.issue(1000))
    seen = moment_queries.look(market.runtime.database, market.alice)
    order.commit()
    assert len(seen.writers) == 1
    assert not moment_queries.still_open(market.runtime.database, seen.writers)


def test_an_answer_about_now_is_of_before_a_long_order(market: Market, told: Told):
    """And it stays so when the order is committed."""
    address = market.issue(1000)
    asked_before = told("/v2/balances")
    order = _OpenOrder(market, address)
    during = told("/v2/balances")
    lines = told("/v2/entries")["results"]
    order.commit()
    assert nonzero(during["total"]) == {"issued": 1000, "available": 1000}
    assert told(f"/v2/balances?at={quote(during['at'])}") == during
    assert told(f"/v2/balances?at={quote(asked_before['at'])}") == asked_before
    assert during["at"] >= asked_before["at"]
    after = told("/v2/entries")["results"]
    assert after[: len(lines)] == lines
    assert [each["kind"] for each in after[len(lines) :]] == ["retire"]
    assert nonzero(told("/v2/balances")["total"]) == {"issued": 1000, "pendingRetired": 1000}


def test_an_answer_about_a_moment_waits_for_the_orders_of_then(
    market: Market, told: Told, monkeypatch: pytest.MonkeyPatch
):
    address = market.issue(1000)
    order = _OpenOrder(market, address)
    now = market.value("SELECT clock_timestamp()").isoformat()
    is_waited_for = Event()
    still_open = moment_queries.still_open

    def look(*arguments: Any) -> Any:
        is_waited_for.set()
        return still_open(*arguments)

    monkeypatch.setattr(moment_queries, "still_open", look)

    def commit() -> None:
        assert is_waited_for.wait(30)
        order.commit()

    answer, _ = at_once(lambda: told(f"/v2/balances?at={quote(now)}"), commit)
    assert nonzero(answer["total"]) == {"issued": 1000, "pendingRetired": 1000}


def test_a_moment_whose_orders_take_too_long_is_told_later(
    market: Market, ask: Ask, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(moments, "_PATIENCE_OF_PAST_S", 0.05)
    order = _OpenOrder(market, market.issue(1000))
    now = quote(market.value("SELECT clock_timestamp()").isoformat())
    for path in (f"/v2/balances?at={now}", f"/v2/account-statement?to={now}"):
        answer = ask(path)
        assert (answer.status_code, answer.json["code"]) == (503, MomentOpen.code)
        assert answer.headers["Retry-After"]
    order.commit()
    assert ask(f"/v2/balances?at={now}").status_code == 200


def test_answers_stay_while_many_order_at_once(market: Market, told: Told):
    """Each answer is asked for again when all is done."""
    market.consume(amount=10**6)
    addresses = [market.issue(100, begin=market.hour(place)) for place in range(12)]
    answers: list[Any] = []
    done = Event()

    def order() -> None:
        try:
            for address in addresses:
                market.compose(address, transfers=[(10, "bob"), (20, "alice")])
                market.run_batches()
        finally:
            done.set()

    def watch() -> None:
        while not done.is_set():
            answers.append((told("/v2/balances"), told("/v2/entries")["results"]))

    at_once(order, watch, watch)
    market.settle()
    final = told("/v2/entries")["results"]
    for balance, lines in answers:
        check_identity(balance["total"])
        assert told(f"/v2/balances?at={quote(balance['at'])}") == balance
        assert final[: len(lines)] == lines
    check_folds(told, final)
    check_folds(lambda path: told(path, "bob"))


def test_rows_of_earlier_versions_are_told_alike_before_and_after_their_times_are_filled_in(
    market: Market, told: Told
):
    market.consume()
    market.consume(gsrn=BOBS_CONSUMPTION)
    first, second = market.issue(1000), market.issue(500, begin=market.hour(1))
    market.compose(first, transfers=[(300, "bob"), (1, "alice")], retires=[(200, CONSUMPTION)])
    market.compose(second, transfers=[(500, "bob")])
    market.settle()
    part = market.value("SELECT address FROM ggos WHERE owner_id = 2 AND amount = 300")
    market.compose(part, retires=[(100, BOBS_CONSUMPTION)], subject="bob")
    told_before = [(each, told("/v2/balances", each)) for each in ("alice", "bob")]
    lines = [(each, told("/v2/entries", each)["results"]) for each in ("alice", "bob")]
    times = "SELECT id, settled_at, spent_at, retired_at FROM ggos WHERE NOT locked ORDER BY id"
    stored = market.rows(times)
    market.rows("UPDATE ggos SET settled_at = NULL, spent_at = NULL, retired_at = NULL")
    for fills in (False, True, True):
        filled = market.runtime.entry_times.run() if fills else None
        for subject, answer in told_before:
            assert told(f"/v2/balances?at={quote(answer['at'])}", subject) == answer
        for subject, entries in lines:
            assert told("/v2/entries", subject)["results"] == entries
    assert filled == 0
    assert market.rows(times) == stored


def test_a_rollback_and_a_redo_of_an_earlier_version_are_noted(market: Market, told: Told):
    address = market.issue(1000)
    market.compose(address, transfers=[(300, "bob")])
    batch = market.value("SELECT id FROM batches")
    at = told("/v2/balances")
    _decline_as_before(market, batch)
    market.runtime.entry_times.run()
    assert told(f"/v2/balances?at={quote(at['at'])}") == at
    kinds = ["issue", "send", "undo"]
    assert [each["kind"] for each in told("/v2/entries")["results"]] == kinds
    assert nonzero(check_folds(told)) == {"issued": 1000, "available": 1000}
    _redo_as_before(market, batch)
    market.runtime.entry_times.run()
    assert told(f"/v2/balances?at={quote(at['at'])}") == at
    kinds += ["redo", "send"]
    assert [each["kind"] for each in told("/v2/entries")["results"]] == kinds
    assert nonzero(check_folds(told)) == {"issued": 1000, "available": 700, "sent": 300}
    assert market.runtime.entry_times.run() == 0


def _decline_as_before(market: Market, batch: int) -> None:
    """Decline the batch as a version without rollbacks and times does: it leaves `spent_at`."""
    from origin.batches.queries.outcomes import decline_batch

    spent = market.value(
        "SELECT spent_at FROM ggos WHERE spent_at IS NOT NULL AND parent_id IS NULL"
    )
    with market.runtime.database.transaction() as session:
        decline_batch(session, batch, "no")
    market.rows("DELETE FROM rollbacks")
    market.rows("UPDATE ggos SET spent_at = :spent", spent=spent)


def _redo_as_before(market: Market, batch: int) -> None:
    """Do the batch again as a version without rollbacks and times does."""
    from origin.batches.queries.outcomes import complete_batches, redo_batch

    with market.runtime.database.transaction() as session:
        assert redo_batch(session, batch)
        complete_batches(session, [batch])
    market.rows("UPDATE rollbacks SET redone_at = NULL")
    market.rows("UPDATE ggos SET settled_at = NULL, spent_at = NULL, retired_at = NULL")


def test_an_adopted_account_opens_with_what_it_has(market: Market, told: Told):
    """Before its history it has nothing."""
    market.consume()
    first, second = market.issue(1000), market.issue(500, begin=market.hour(1))
    market.compose(first, transfers=[(300, "bob")], retires=[(200, CONSUMPTION)])
    market.settle()
    market.compose(second, transfers=[(40, "bob")])
    early = told("/v2/balances")
    market.rows("UPDATE users SET history_from = entry_time()")
    market.rows("UPDATE ggos SET settled_at = NULL, spent_at = NULL, retired_at = NULL")
    for subject in ("alice", "bob"):
        check_folds(lambda path, subject=subject: told(path, subject))
    balance = told("/v2/balances")["total"]
    assert nonzero(balance) == {"issued": 1200, "available": 960, "retired": 200, "pendingOut": 40}
    assert set(told(f"/v2/balances?at={quote(early['at'])}")["total"].values()) == {0}
    lines = told("/v2/entries")["results"]
    assert {each["kind"] for each in lines} == {"opening"}
    assert nonzero(told("/v2/balances", "bob")["total"]) == {
        "received": 300,
        "available": 300,
        "pendingIn": 40,
    }
    market.settle()
    assert told("/v2/entries")["results"][: len(lines)] == lines
    check_folds(told)
    assert read_entries(told, limit=1) == told("/v2/entries")["results"]


def test_the_moment_of_an_answer_never_runs_backwards(told: Told):
    seen = [told("/v2/balances")["at"] for _ in range(5)]
    assert seen == sorted(set(seen))


def test_a_transaction_that_writes_late_does_not_set_the_moment_back(market: Market, told: Told):
    """It had begun before an answer, but was no writer yet."""
    address = market.issue(1000)
    order = market.runtime.database.engine.connect()
    order.execute(text("SELECT 1"))
    asked_before = told("/v2/balances")
    order.execute(text("UPDATE ggos SET reference = NULL WHERE address = :a"), {"a": address})
    assert told("/v2/balances") == asked_before
    order.rollback()
    order.close()
    assert told("/v2/balances")["at"] > asked_before["at"]
