"""One GGO with its status and its lineage."""

from itertools import product
from typing import Any

import pytest

from tests.support.market import CONSUMPTION, Market
from tests.support.operations import end, found, get, issue_next


def ggo(market: Market, address: str, subject: str = "alice") -> Any:
    return found(market, f"/v2/ggos/{address}", subject)


def parts(market: Market) -> dict[str, str]:
    """Return the addresses of all parts by their amounts."""
    rows = market.rows("SELECT amount, address FROM ggos WHERE parent_id IS NOT NULL")
    return {str(amount): address for amount, address in rows}


def test_a_split_ggo_shows_the_parts_of_others_by_amount_alone(market: Market):
    address = issue_next(market)
    [listed] = market.listed("alice")
    fresh = ggo(market, address)
    assert listed.items() <= fresh.items()
    assert fresh["status"] == "active"
    assert fresh["lineage"] == {"parent": None, "root": address, "children": []}
    assert fresh["operation"] is None
    assert fresh["expireTime"].startswith("20")

    market.consume()
    made = market.compose(address, transfers=[(100, "bob")], retires=[(30, CONSUMPTION)])
    named = parts(market)
    children = [
        {"amount": 100},
        {"amount": 870, "address": named["870"]},
        {"amount": 30, "address": named["30"]},
    ]
    operation = made.headers["Location"].split("/")[-1]
    for status, of_parts in (("locked", ["locked", "locked"]), ("split", ["active", "retired"])):
        source = ggo(market, address)
        assert source["status"] == status
        assert source["lineage"]["children"] == children
        assert source["operation"] == operation
        remainder, retired = ggo(market, named["870"]), ggo(market, named["30"])
        assert [remainder["status"], retired["status"]] == of_parts
        assert remainder["operation"] is None
        assert retired["operation"] == operation
        assert remainder["lineage"] == {"parent": address, "root": address, "children": []}
        assert get(market, f"/v2/ggos/{named['100']}").status_code == 404
        received = get(market, f"/v2/ggos/{named['100']}", "bob")
        assert received.status_code == (404 if status == "locked" else 200)
        assert get(market, f"/v2/ggos/{address}", "bob").status_code == 404
        market.settle()
    received = ggo(market, named["100"], "bob")
    assert received["lineage"] == {"parent": address, "root": address, "children": []}

    # What is sent on stays visible to those who had it.
    onward = market.compose(named["100"], transfers=[(100, "alice")], subject="bob")
    assert onward.status_code == 200
    market.settle()
    sent = ggo(market, named["100"], "bob")
    assert (sent["status"], sent["lineage"]["children"]) == ("split", [{"amount": 100}])
    back = market.value(
        "SELECT address FROM ggos WHERE parent_id = (SELECT id FROM ggos WHERE address = :a)",
        a=named["100"],
    )
    assert ggo(market, back)["lineage"]["root"] == address


def test_a_declined_operation_does_not_spend(market: Market):
    address = issue_next(market)
    market.compose(address, transfers=[(100, "bob")])
    [received] = [each for amount, each in parts(market).items() if amount == "100"]
    end(market, market.value("SELECT id FROM batches"), "DECLINED")
    source = ggo(market, address)
    assert (source["status"], source["operation"]) == ("active", None)
    assert source["lineage"]["children"] == []
    assert get(market, f"/v2/ggos/{received}", "bob").status_code == 404


def test_what_is_received_and_being_spent_stays_visible(market: Market):
    market.compose(issue_next(market), transfers=[(1000, "bob")])
    market.settle()
    [address] = parts(market).values()
    market.compose(address, transfers=[(1, "alice")], subject="bob")
    assert ggo(market, address, "bob")["status"] == "locked"


def test_unknown_addresses_are_not_found(market: Market):
    for address in ("849c0b" + "0" * 64, "x", "%00", "a%2Fb", "é"):
        answer = get(market, f"/v2/ggos/{address}")
        assert answer.status_code == 404, address
    market.tokens["alice"] = market.token("alice", "ggo.transfer")
    assert get(market, f"/v2/ggos/{issue_next(market)}").status_code == 403


def expected(*, stored: bool, retired: bool, locked: bool, is_expired: bool, **flags: bool) -> str:
    """Return the status by the contract's words."""
    if flags["spent_elsewhere"]:
        return "blocked"
    if locked:
        return "locked"
    if retired:
        return "retired"
    if not stored:
        return "split"
    if is_expired:
        return "expired"
    is_unsent = flags["never_sent"] and flags["ledger_enabled"]
    return "blocked" if flags["key_mismatch"] or is_unsent else "active"


@pytest.mark.parametrize("ledger_enabled", [True, False])
def test_every_state_has_its_status(new_market: Any, ledger_enabled: bool):
    market: Market = new_market(ledger_enabled=ledger_enabled)
    address = issue_next(market)
    names = ("stored", "retired", "locked", "spent_elsewhere", "never_sent", "key_mismatch")
    tried = set()
    for values in product([True, False], repeat=len(names)):
        flags = dict(zip(names, values, strict=True))
        stored, retired, locked, elsewhere = values[:4]
        if (stored and retired) or (elsewhere and (stored or retired or not locked)):
            continue
        for is_expired in (False, True):
            market.rows(
                "UPDATE ggos SET stored = :stored, retired = :retired, locked = :locked, "
                "spent_elsewhere = :spent_elsewhere, never_sent = :never_sent, "
                "key_mismatch = :key_mismatch, "
                "retire_gsrn = CASE WHEN :retired THEN issue_gsrn END, "
                "retire_address = CASE WHEN :retired THEN 'a' END, "
                "expire_time = now() + CASE WHEN :is_expired THEN interval '0' ELSE '1 d' END",
                is_expired=is_expired,
                **flags,
            )
            status = ggo(market, address)["status"]
            wanted = expected(is_expired=is_expired, ledger_enabled=ledger_enabled, **flags)
            assert status == wanted, (flags, is_expired)
            tried.add(status)
    assert tried == {"active", "locked", "split", "retired", "expired", "blocked"}
