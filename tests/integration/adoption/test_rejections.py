"""Rows that can't be adopted: each is named with its reason, and takes along what depends on it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.adopting import adopt, rejections, write
from tests.support.original_database import BEGIN, OriginalDatabase, Row
from tests.support.world import World

HOOK = "https://receiver.example/hook"


class Books(OriginalDatabase):
    """Anna and Bert, each with a mill and a home; lineages by name for tests to spoil."""

    def __init__(self) -> None:
        super().__init__()
        self.anna, self.bert = self.user("anna"), self.user("bert")
        self.mill, self.home = (
            self.point(self.anna, "production"),
            self.point(self.anna, "consumption"),
        )
        self.berts_home = self.point(self.bert, "consumption")
        self.hour = 0

    def issued(self, amount: int = 1000) -> Row:
        self.hour += 1
        return self.issue(self.mill, BEGIN + timedelta(hours=self.hour), amount)

    def split(self, state: str = "COMPLETED") -> tuple[Row, list[Row]]:
        """Return a GGO and its three parts: a transfer, the remainder, and one retired."""
        ggo = self.issued()
        return ggo, self.compose(ggo, [(400, self.bert)], [(500, self.home)], state)

    def copy(self, table: str, row: Row, **changes: Any) -> Row:
        """Add a copy of a row, with the next id unless it is given."""
        return self.add(table, **{**{k: v for k, v in row.items() if k != "id"}, **changes})

    def last(self, table: str) -> Row:
        return self.rows[table][-1]


Spoil = Callable[[Books], dict[tuple[str, int], str]]
"""Spoils some rows, and returns the reasons that are expected, by kind and id."""


def spoilt_users(books: Books) -> dict[tuple[str, int], str]:
    double = books.copy("auth_user", books.bert)
    of_double = books.copy("accounts_meteringpoint", books.home, user_id=double["id"], gsrn="d")
    # The lowest id has no usable key, so the second one counts.
    for key in ("xpub661MyMwAqRbc", None):
        books.add(
            "auth_user",
            **{
                **books.anna,
                "id": books.last("auth_user")["id"] + 1,
                "sub": "carol",
                "master_extended_key": key,
            },
        )
    carol = books.copy("auth_user", books.anna, sub="carol")
    nameless = books.copy("auth_user", books.anna, sub=None)
    twice = books.add("auth_user", **{**books.anna, "sub": "dora"})
    for table in ("accounts_meteringpoint_index_sequence", "ggo_ggo_index_sequence"):
        books.add(table, user_id=999, index=3)
    key = "Its master key is not an extended private key (Base58 xprv)"
    return {
        ("user", double["id"]): f"User {books.bert['id']} has the same subject",
        ("metering point", of_double["id"]): "Its user was rejected",
        ("user", carol["id"] - 2): key,
        ("user", carol["id"] - 1): key,
        ("user", nameless["id"]): "It has no subject",
        ("user", twice["id"]): "Its id occurs more than once; the first row counts",
        ("metering point index", 3): "Its user 999 does not exist",
        ("GGO index", 3): "Its user 999 does not exist",
    }


def spoilt_points(books: Books) -> dict[tuple[str, int], str]:
    point = "accounts_meteringpoint"
    double = books.copy(point, books.home, key_index=7)
    same_key = books.copy(point, books.home, gsrn="other")
    dangling = books.copy(point, books.home, gsrn="a", user_id=999)
    odd = [
        books.copy(
            point, books.home, **{"gsrn": f"odd {number}", "key_index": 20 + number, **change}
        )
        for number, change in enumerate(
            ({"key_index": None}, {"key_index": 2**31}, {"sector": None}, {"type": "EXCHANGE"})
        )
    ]
    return {
        ("metering point", double["id"]): f"Metering point {books.home['id']} has the same GSRN",
        ("metering point", same_key["id"]): (
            f"Metering point {books.home['id']} of the same user has the same key index"
        ),
        ("metering point", dangling["id"]): "Its user 999 does not exist",
        ("metering point", odd[0]["id"]): "It has no key index",
        ("metering point", odd[1]["id"]): "Its key index is out of range",
        ("metering point", odd[2]["id"]): "It has no sector",
        ("metering point", odd[3]["id"]): "Its type is neither production nor consumption",
    }


def spoilt_ggos(books: Books) -> dict[tuple[str, int], str]:
    spoilt: dict[str, Row] = {}

    def spoil(reason: str, **changes: Any) -> None:
        spoilt[reason] = books.issued()
        spoilt[reason].update(changes)

    first = books.issued()
    spoil(f"GGO {first['id']} has the same address", address=first["address"])
    spoil("Its user 999 does not exist", user_id=999)
    spoil("It has no address", address="")
    spoil("Its address is longer than 500 bytes", address="0" * 501)
    spoil("Its end is not after its begin", end=BEGIN)
    spoil("Its begin is not a usable time", begin="infinity")
    spoil("Its expire_time is not a usable time", expire_time=None)
    spoil("Its issue_time is not a usable time", issue_time="0044-03-15 00:00:00+00 BC")
    spoil("It has no sector", sector=None)
    spoil("It has no technology code", technology_code="")
    spoil("Its fuel code is longer than 500 bytes", fuel_code="é" * 251)
    spoil("Its emissions are not an object", emissions="[1]")
    spoil("One of its emissions is not a number", emissions={"CO2": "much"})
    spoil("One of its flags is missing", locked=None)
    spoil("It is both stored and retired", retired=True)
    spoil("It is not either synchronized or locked", locked=True)
    spoil("Its flag retired contradicts its retire GSRN and address", retire_address="5a98")
    spoil("It is neither clearly issued nor clearly a part of a split", issued=False)
    spoil("Its metering point 123 does not exist", issue_gsrn="123")
    spoil(
        "It is locked, but no adoptable batch in flight concerns it",
        locked=True,
        synchronized=False,
    )
    spoil("The energy is spent, but there are no parts", stored=False)
    return {("GGO", ggo["id"]): reason for reason, ggo in spoilt.items()}


def spoilt_retirements(books: Books) -> dict[tuple[str, int], str]:
    """A retire address without a GSRN; a retirement to a point that isn't there; the lineages follow."""
    ggo, parts = books.split()
    parts[2]["retire_gsrn"] = None
    other = books.issued()
    books.compose(other, retires=[(1000, books.home)])
    other["retire_gsrn"] = "gone"
    lineage = f"In its lineage, of GGO {ggo['id']}, the parts hold 500 of 1000 Wh"
    return {
        ("GGO", parts[2]["id"]): "Its flag retired contradicts its retire GSRN and address",
        ("GGO", ggo["id"]): "The parts hold 500 of 1000 Wh",
        ("GGO", parts[0]["id"]): lineage,
        ("GGO", parts[1]["id"]): lineage,
        ("GGO", other["id"]): "Its metering point of the retirement gone does not exist",
        **of_batches(1, {1: ("One of its transactions was rejected", 2)}),
        **of_batches(2, {3: ("One of its transactions was rejected", 1)}),
        ("transaction", 2): "Its GGO was rejected",
        ("transaction", 3): "Its GGO was rejected",
        **{("split target", number): "Its transaction was rejected" for number in (1, 2, 3)},
    }


def of_batches(batch_id: int, reasons: dict[int, tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Return the rejections of a batch and of its transactions, from the first one's id on."""
    found = {}
    for first, (reason, count) in reasons.items():
        found["batch", batch_id] = reason
        for number in range(first, first + count):
            found["transaction", number] = "Its batch was rejected"
    return found


def spoilt_lineage(books: Books) -> dict[tuple[str, int], str]:
    """A grandchild is damaged: root, parts and their parts go, and the batches with them."""
    root, parts = books.split()
    grandchildren = books.compose(parts[0], [(150, books.anna)])
    grandchildren[0]["amount"] = 0
    stays, _ = books.split()
    cause = f"In its lineage, of GGO {parts[0]['id']}, the parts hold 250 of 400 Wh"
    ids = {ggo["id"] for ggo in (root, *parts, *grandchildren)}
    assert stays["id"] not in ids
    return {
        **{("GGO", each): cause for each in ids},
        ("GGO", parts[0]["id"]): "The parts hold 250 of 400 Wh",
        ("GGO", grandchildren[0]["id"]): "Its amount is not above 0 Wh",
        ("batch", 1): "Its GGO was rejected",
        ("batch", 2): "Its GGO was rejected",
        **{("transaction", number): "Its batch was rejected" for number in (1, 2, 3)},
        **{("split target", number): "Its transaction was rejected" for number in range(1, 6)},
    }


def dangling_lineage(books: Books) -> dict[tuple[str, int], str]:
    """A part whose parent is gone, with a part of its own; a circle; a duplicate with a part."""
    ggo, parts = books.split()
    (below, rest) = books.compose(parts[0], [(150, books.anna)])
    books.rows["ggo_ggo"].remove(ggo)
    round_, (circle,) = books.issued(), books.compose(books.issued(), [(1000, books.bert)])
    books.rows["ggo_ggo"].remove(round_)
    parent = books.rows["ggo_ggo"][-2]
    assert circle["parent_id"] == parent["id"]
    parent.update(
        parent_id=circle["id"], issued=False, issue_gsrn=None, key_index=90, address="round"
    )
    return {
        **{("GGO", part["id"]): f"Its parent {ggo['id']} does not exist" for part in parts},
        ("GGO", below["id"]): "Its parent was rejected",
        ("GGO", rest["id"]): "Its parent was rejected",
        ("GGO", parent["id"]): "Its lineage is a circle: no GGO in it was issued",
        ("GGO", circle["id"]): "Its lineage is a circle: no GGO in it was issued",
        ("batch", 1): "One of its transactions was rejected",
        ("batch", 2): "One of its transactions was rejected",
        ("batch", 3): "Its GGO was rejected",
        ("transaction", 1): f"Its GGO {ggo['id']} does not exist",
        ("transaction", 2): "Its GGO was rejected",
        ("transaction", 3): "Its GGO was rejected",
        ("transaction", 4): "Its batch was rejected",
        **{("split target", number): "Its transaction was rejected" for number in range(1, 7)},
    }


def spoilt_batches(books: Books) -> dict[tuple[str, int], str]:
    """Batches that contradict their GGOs, or that name none."""
    books.split()
    empty = books.copy("ledger_batch", books.last("ledger_batch"))
    stored = books.issued()
    books.compose(stored, retires=[(1000, books.home)])
    stored.update(stored=True, retired=False, retire_gsrn=None, retire_address=None)
    books.split()
    books.last("ledger_batch")["user_id"] = books.bert["id"]
    books.split("SUBMITTED")
    for ggo in books.rows["ggo_ggo"][-4:]:
        ggo.update(locked=False, synchronized=True)
    books.split("SUBMITTED")
    books.last("ledger_batch")["state"] = "COMPLETED"
    return {
        ("batch", empty["id"]): "No transaction tells its GGO",
        ("batch", 3): "It contradicts the flags of its GGO",
        ("batch", 4): "Its GGO is not of its user",
        ("batch", 5): "It is in flight, but its GGO is not locked",
        ("batch", 6): "It is completed, but its GGO is locked",
        **{
            ("GGO", ggo["id"]): "It is locked, but no adoptable batch in flight concerns it"
            for ggo in books.rows["ggo_ggo"][-4:]
        },
        **of_rows_of_batches(books, {3, 4, 5, 6}),
    }


def second_batch(books: Books) -> dict[tuple[str, int], str]:
    """A second batch that spends a GGO of another one."""
    books.split()
    second = books.copy("ledger_batch", books.last("ledger_batch"))
    split = books.rows["ledger_transaction"][0]
    books.copy("ledger_transaction", split, batch_id=second["id"])
    return {
        ("batch", second["id"]): "Batch 1 spends the same GGO",
        **of_rows_of_batches(books, {second["id"]}),
    }


def of_rows_of_batches(books: Books, batch_ids: set[int]) -> dict[tuple[str, int], str]:
    """Return the rejections of the transactions and split targets of rejected batches."""
    transactions = {
        row["id"] for row in books.rows["ledger_transaction"] if row["batch_id"] in batch_ids
    }
    targets = {
        row["id"]
        for row in books.rows["ledger_split_target"]
        if row["transaction_id"] in transactions
    }
    return {
        **{("transaction", each): "Its batch was rejected" for each in transactions},
        **{("split target", each): "Its transaction was rejected" for each in targets},
    }


def spoilt_forecasts(books: Books) -> dict[tuple[str, int], str]:
    spoilt: dict[str, Row] = {}

    def spoil(reason: str, **changes: Any) -> None:
        spoilt[reason] = books.forecast(books.anna, books.bert, [1, 2], **changes)

    first = books.forecast(books.anna, books.bert, [1])
    spoil(f"Forecast {first['id']} has the same public id", public_id=first["public_id"].upper())
    spoil("Its sender 999 does not exist", user_id=999)
    spoil("It has no recipient", recipient_id=None)
    spoil("Its resolution is not above 0 seconds", resolution=0)
    spoil("It is not a list of 1 to 35136 amounts", forecast=[])
    spoil("One of its amounts is not a number of Wh", forecast=[1, None])
    spoil("Its end is not after its begin", end=BEGIN)
    spoil("Its reference is longer than 2000 bytes", reference="r" * 2001)
    return {("forecast", row["id"]): reason for reason, row in spoilt.items()}


def spoilt_subscriptions(books: Books) -> dict[tuple[str, int], str]:
    books.subscription("anna", HOOK)
    double = books.subscription("anna", HOOK, "another secret")
    silent = books.subscription("bert", HOOK, None)
    odd = books.subscription("bert", "ftp://receiver.example/", "s")
    event = books.subscription("bert", HOOK, "s", event="ON_RAIN")
    return {
        ("subscription", double["id"]): (
            f"Subscription {double['id'] - 1} has the same subject, event and URL"
        ),
        ("subscription", silent["id"]): ("It has no secret to sign webhooks with: subscribe again"),
        ("subscription", odd["id"]): "Its URL is not one that webhooks can be sent to",
        ("subscription", event["id"]): "Its event is unknown",
    }


def spoilt_technologies(books: Books) -> dict[tuple[str, int], str]:
    books.technology("Wind", "T1", "F1")
    books.technology("Sun", "T1", "F1")
    books.technology("", "T2", "F1")
    return {
        ("technology", 2): "Technology 1 has the same codes",
        ("technology", 3): "It has no label",
    }


@pytest.mark.parametrize(
    "spoil",
    [
        spoilt_users,
        spoilt_points,
        spoilt_ggos,
        spoilt_retirements,
        spoilt_lineage,
        dangling_lineage,
        spoilt_batches,
        second_batch,
        spoilt_forecasts,
        spoilt_subscriptions,
        spoilt_technologies,
    ],
)
def test_each_row_that_does_not_fit_is_named_with_its_reason(world: World, spoil: Spoil):
    books = Books()
    expected = spoil(books)
    write(world, books, constraints=False)
    report = adopt(world, status=1)
    assert rejections(report) == expected
    kept = world.rows("SELECT kind, source_id, reason FROM adoption_rejections")
    assert {(row.kind, row.source_id): row.reason for row in kept} == expected
    for count in (*report["kinds"].values(), report["energy"]):
        assert count["source"] == count["adopted"] + count["rejected"]
    # What was issued and adopted is all there: stored, retired or in flight.
    issued, held = world.rows(
        "SELECT coalesce(sum(amount) FILTER (WHERE parent_id IS NULL), 0) AS issued, "
        "coalesce(sum(amount) FILTER (WHERE stored OR retired), 0) AS held FROM ggos"
    )[0]
    assert issued == held


def test_no_ggo_is_spent_twice(world: World):
    """A part that another batch retires again; a GGO that one batch both splits and retires."""
    books = Books()
    _, parts = books.split()
    again = books.copy("ledger_batch", books.last("ledger_batch"))
    books.copy("ledger_transaction", books.last("ledger_transaction"), batch_id=again["id"])
    retired_again = books.last("ledger_transaction")
    assert retired_again["parent_ggo_id"] == parts[2]["id"]
    both, _ = books.split()
    retire = books.last("ledger_transaction")
    books.copy("ledger_transaction", retire, parent_ggo_id=both["id"], order=9)
    write(world, books, constraints=False)
    found = rejections(adopt(world, status=1))
    assert {key: reason for key, reason in found.items() if key[0] == "batch"} == {
        ("batch", 2): "Batch 1 spends the same GGO",
        ("batch", 3): "Its transactions are not those of one compose",
    }
    assert found["transaction", retired_again["id"]] == "Its batch was rejected"
    assert world.value("SELECT count(*) FROM ggos") == 8


def test_a_duplicate_of_a_part_leaves_its_lineage_alone(world: World):
    books = Books()
    _, parts = books.split()
    double = books.copy("ggo_ggo", parts[0])
    below = books.copy("ggo_ggo", parts[1], parent_id=double["id"], address="b", key_index=50)
    write(world, books, constraints=False)
    assert rejections(adopt(world, status=1)) == {
        ("GGO", double["id"]): f"GGO {parts[0]['id']} has the same address",
        ("GGO", below["id"]): "Its parent was rejected",
    }
    assert world.value("SELECT count(*) FROM ggos") == 4


def test_rejections_are_listed_after_an_adoption(world: World):
    books = Books()
    _, parts = books.split()
    books.copy("ggo_ggo", parts[0])
    books.copy("auth_user", books.bert)
    write(world, books, constraints=False)
    reasons = rejections(adopt(world, status=1))
    runner = world.app.test_cli_runner()

    def listed(*options: str) -> list[Any]:
        result = runner.invoke(args=["adoption", "rejections", "--json", *options])
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    rows = listed()
    assert {(each["kind"], each["source_id"]): each["reason"] for each in rows} == reasons
    assert len(rows) > 1
    assert listed("--limit", "1", "--after", str(rows[0]["id"])) == rows[1:2]
    assert listed("--kind", "GGO") == [each for each in rows if each["kind"] == "GGO"] != []


def test_a_repeated_transaction_leaves_its_batch_alone(world: World):
    books = Books()
    ggo, parts = books.split("SUBMITTED")
    split, retire = books.rows["ledger_transaction"]
    books.rows["ledger_transaction"] += [dict(split), {**retire, "id": 9}]
    write(world, books, constraints=False)
    assert rejections(adopt(world, status=1)) == {
        ("transaction", split["id"]): "Its id occurs more than once; the first row counts",
        ("transaction", 9): f"Transaction {retire['id']} is the same operation",
    }
    assert world.value("SELECT count(*) FROM ggos WHERE locked") == len([ggo, *parts])
    operations = world.rows("SELECT position, type FROM transactions ORDER BY position")
    assert [tuple(each) for each in operations] == [(0, "split"), (1, "retire")]


def test_the_issue_gsrn_of_a_part_is_left_out(world: World):
    books = Books()
    _, parts = books.split()
    parts[0]["issue_gsrn"] = books.mill["gsrn"]
    write(world, books)
    adopt(world)
    assert world.value("SELECT count(*) FROM ggos WHERE issue_gsrn IS NOT NULL") == 1


def test_never_sent_is_known_even_if_the_batch_is_rejected(world: World):
    books = Books()
    books.compose(books.issued(), [(1, books.bert)], handle=None)
    books.last("ledger_batch")["user_id"] = books.bert["id"]
    write(world, books, constraints=False)
    adopt(world, status=1)
    assert world.value("SELECT count(*) FROM batches") == 0
    assert world.value("SELECT count(*) FROM ggos WHERE never_sent") == 3
