"""The auditor: compares the database with the ledger, without using the service's code.

It checks the contract's rules (contract: domain). It needs an idle system: no batch under way, no fault
set.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from tests.support.database import rows

Row = dict[str, Any]
State = Mapping[str, Row]
"""The ledger's records by address."""

_GGO_ADDRESS = re.compile(rb"849c0b[0-9a-f]{64}")


@dataclass
class Books:
    """The rows of the database.

    - `ggos`: id, owner_id, address, amount, sector, stored, retired, locked, parent_id, key_index,
      retire_address, key_mismatch, spent_elsewhere
    - `batches`: id, ggo_id, state, ended (bool), due (bool), signed_batch (bytes)
    - `users`: id, next_trade_index; `points`: user_id, gsrn, key_index
    """

    ggos: list[Row]
    batches: list[Row]
    users: list[Row]
    points: list[Row]

    def children(self) -> dict[int, list[Row]]:
        """Return the parts of each split GGO, by its id."""
        found: dict[int, list[Row]] = defaultdict(list)
        for ggo in self.ggos:
            if ggo["parent_id"] is not None:
                found[ggo["parent_id"]].append(ggo)
        return found


def read_books(database_uri: str) -> Books:
    """Read the tables, each with its own statement; the system must be idle."""
    return Books(
        ggos=rows(
            database_uri,
            "SELECT id, owner_id, address, amount, sector, stored, retired, locked, parent_id, "
            "key_index, retire_address, key_mismatch, spent_elsewhere FROM ggos ORDER BY id",
        ),
        batches=[
            {**row, "signed_batch": bytes(row["signed_batch"] or b"")}
            for row in rows(
                database_uri,
                "SELECT id, ggo_id, state, ended_at IS NOT NULL AS ended, "
                "next_attempt_at IS NOT NULL AS due, signed_batch FROM batches ORDER BY id",
            )
        ],
        users=rows(database_uri, "SELECT id, next_trade_index FROM users ORDER BY id"),
        points=rows(database_uri, "SELECT user_id, gsrn, key_index FROM metering_points"),
    )


def read_ledger(url: str) -> State:
    """Return the whole state of the sandbox's ledger."""
    answer = requests.get(f"{url}/control/state", timeout=30)
    answer.raise_for_status()
    state: State = answer.json()["state"]
    return state


def audit(books: Books, state: State, *, recovered: Collection[str] = ()) -> list[str]:
    """Return a complaint for each error found.

    `recovered`: addresses of GGOs that were recovered from the ledger after a loss of the database;
    the batches that spent them may be missing.
    """
    return [
        *(complaint for check in _CHECKS for complaint in check(books, state)),
        *_spent_by_a_batch(books, recovered),
    ]


def _energy_is_conserved(books: Books, _state: State) -> Iterator[str]:
    """The unsplit parts of an issued GGO add up to its amount."""
    children = books.children()

    def held(ggo: Row) -> int:
        if ggo["id"] in children:
            return sum(held(child) for child in children[ggo["id"]])
        # GGOs that were spent elsewhere have a complaint of their own.
        is_held = ggo["stored"] or ggo["retired"] or ggo["spent_elsewhere"]
        return int(ggo["amount"]) if is_held else 0

    for ggo in books.ggos:
        if ggo["parent_id"] is None and held(ggo) != ggo["amount"]:
            yield f"of {ggo['amount']} Wh issued at {ggo['address']} {held(ggo)} Wh are held"
        parts = children.get(ggo["id"])
        if parts and sum(part["amount"] for part in parts) != ggo["amount"]:
            yield f"the parts of {ggo['address']} don't sum to its {ggo['amount']} Wh"


def _held_once(books: Books, _state: State) -> Iterator[str]:
    """Each GGO is either stored, retired, split or spent elsewhere; only the last is locked."""
    children = books.children()
    for ggo in books.ggos:
        states = [
            *(["stored"] if ggo["stored"] else []),
            *(["retired"] if ggo["retired"] else []),
            *(["split"] if ggo["id"] in children else []),
            *(["spent elsewhere"] if ggo["spent_elsewhere"] else []),
        ]
        if len(states) != 1:
            yield f"{ggo['address']} is {' and '.join(states) or 'in no state'}"
        if ggo["locked"] != ggo["spent_elsewhere"]:
            yield f"{ggo['address']} is {'' if ggo['locked'] else 'not '}locked"


def _nothing_is_spent_elsewhere(books: Books, state: State) -> Iterator[str]:
    """No GGO is spent elsewhere: only the service has the keys."""
    for ggo in books.ggos:
        if ggo["spent_elsewhere"]:
            yield f"{ggo['amount']} Wh at {ggo['address']} were spent elsewhere"
            if not state.get(ggo["address"], {}).get("next"):
                yield f"{ggo['address']} is blocked, but unspent on the ledger"


def _batches_have_ended(books: Books, _state: State) -> Iterator[str]:
    """Each batch has ended as COMPLETED or DECLINED."""
    for batch in books.batches:
        over = batch["ended"] and not batch["due"]
        if batch["state"] not in {"COMPLETED", "DECLINED"} or not over:
            yield f"batch {batch['id']} is {batch['state']}, {'' if over else 'not '}ended"


def _spent_by_a_batch(books: Books, recovered: Collection[str]) -> Iterator[str]:
    """Each split or wholly retired GGO has one COMPLETED batch; other GGOs have none."""
    children = books.children()
    completed = Counter(batch["ggo_id"] for batch in books.batches if batch["state"] == "COMPLETED")
    for ggo in books.ggos:
        # A retired part was retired by its parent's batch.
        spent_by_own = ggo["id"] in children or (ggo["retired"] and ggo["parent_id"] is None)
        count = completed[ggo["id"]]
        is_missing = spent_by_own and not count and ggo["address"] not in recovered
        if count > 1 or is_missing:
            yield f"{ggo['address']} has {count} completed batches"
        if count and not (ggo["id"] in children or ggo["retired"]):
            yield f"{ggo['address']} has a completed batch, but isn't spent"


def _ledger_agrees(books: Books, state: State) -> Iterator[str]:
    """Each GGO is the same on the ledger, except for those that the service can't spend."""
    children = books.children()
    by_id = {ggo["id"]: ggo for ggo in books.ggos}
    settlements = {
        record["measurement"]: address for address, record in state.items() if "parts" in record
    }
    for ggo in books.ggos:
        address = ggo["address"]
        record = state.get(address)
        if ggo["key_mismatch"] or ggo["spent_elsewhere"]:
            continue
        if record is None:
            yield f"{address} isn't on the ledger"
            continue
        for field in ("amount", "sector"):
            if record[field] != ggo[field]:
                yield f"{address} has {field} {ggo[field]}, on the ledger {record[field]}"
        parent = by_id.get(ggo["parent_id"])
        if parent is not None and record["origin"] != parent["address"]:
            yield f"{address} was split from {parent['address']}, on the ledger from another"
        if ggo["id"] in children:
            wanted = ("SPLIT", {part["address"] for part in children[ggo["id"]]})
        elif ggo["retired"]:
            wanted = ("RETIRE", {settlements.get(ggo["retire_address"])})
        else:
            wanted = ("", set())
        following = record["next"] or {"action": "", "addresses": []}
        found = (following["action"], set(following["addresses"]))
        if found != wanted:
            yield f"{address} should have become {wanted}, but is {found} on the ledger"


def _database_has_all(books: Books, state: State) -> Iterator[str]:
    """The database lacks no GGO that is on the ledger."""
    known = {ggo["address"] for ggo in books.ggos}
    elsewhere = {ggo["address"] for ggo in books.ggos if ggo["spent_elsewhere"]}
    for address, record in state.items():
        is_ours = "next" in record and record["origin"] not in elsewhere
        if is_ours and address not in known:
            yield f"{address} is on the ledger only"


def _retired_to(books: Books) -> dict[str, dict[str, int]]:
    """Return the retired Wh, by measurement and GGO."""
    retired: dict[str, dict[str, int]] = defaultdict(dict)
    for ggo in books.ggos:
        if ggo["retired"]:
            retired[ggo["retire_address"]][ggo["address"]] = ggo["amount"]
    return retired


def _no_more_than_measured(books: Books, state: State) -> Iterator[str]:
    """No measurement has more retired to it than was measured."""
    for measurement, parts in _retired_to(books).items():
        record = state.get(measurement)
        if record is None or record.get("type") != "CONSUMPTION":
            yield f"retired to {measurement}, which isn't a consumption on the ledger"
        elif sum(parts.values()) > record["amount"]:
            yield f"{sum(parts.values())} Wh retired to {measurement}, {record['amount']} measured"


def _settled_as_retired(books: Books, state: State) -> Iterator[str]:
    """The ledger's settlements contain exactly the retired GGOs, each once."""
    retired = _retired_to(books)
    settled: dict[str, dict[str, int]] = defaultdict(dict)
    for record in state.values():
        for part in record.get("parts", ()):
            if part["ggo"] in settled[record["measurement"]]:
                yield f"{part['ggo']} is settled twice"
            settled[record["measurement"]][part["ggo"]] = part["amount"]
    for measurement in retired.keys() | settled.keys():
        if retired.get(measurement) != settled.get(measurement):
            yield f"the settlement of {measurement} differs from what was retired to it"


def _keys_are_used_once(books: Books, _state: State) -> Iterator[str]:
    """No key index is used twice, not even after a rollback, and none beyond the counter."""
    following = {user["id"]: user["next_trade_index"] for user in books.users}
    trades = [
        (ggo["owner_id"], ggo["key_index"]) for ggo in books.ggos if ggo["key_index"] is not None
    ]
    points = [(point["user_id"], point["key_index"]) for point in books.points]
    for name, used in (("m/0", trades), ("m/1", points)):
        for (user, index), count in Counter(used).items():
            if count > 1:
                yield f"user {user} uses key {name}/{index} {count} times"
    for user, index in trades:
        if index >= following[user]:
            yield f"user {user} uses key m/0/{index}, which is beyond the counter"
    sources = {ggo["id"]: ggo["address"] for ggo in books.ggos}
    targets = Counter(
        address
        for batch in books.batches
        for address in _named(batch["signed_batch"]) - {sources.get(batch["ggo_id"])}
    )
    for address, count in targets.items():
        if count > 1:
            yield f"{address} is the target of {count} batches"


def _named(signed_batch: bytes) -> set[str]:
    """Return the GGO addresses in a batch: its source and its targets."""
    return {found.decode() for found in _GGO_ADDRESS.findall(signed_batch)}


_CHECKS: Iterable[Callable[[Books, State], Iterator[str]]] = (
    _energy_is_conserved,
    _held_once,
    _nothing_is_spent_elsewhere,
    _batches_have_ended,
    _ledger_agrees,
    _database_has_all,
    _no_more_than_measured,
    _settled_as_retired,
    _keys_are_used_once,
)
