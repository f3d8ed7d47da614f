"""Accounts as a plain bookkeeper keeps them, and the same orders in a real database.

`Bookkeeper` moves Wh in memory, by the contract's words (v2, Balances). `OrderedWorld` does the same steps
with the service's own SQL. Neither looks at the other.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import text

from origin.batches.queries.outcomes import complete_batches, decline_batch, redo_batch
from origin.compose.queries.compose import PartTarget, SentCompose, complete_unsent, write
from origin.compose.rules import Part, PartKind, Source, is_whole_retire
from origin.db.engine import Database

USERS = ("anna", "bo")
LABELS = {("T1", "F1"): "Wind", ("T1", "F2"): "Wind", ("T2", "F1"): "Sun"}
"""Labels of pairs of codes; (T2, F2) has none."""
FAR = datetime(2100, 1, 1, tzinfo=UTC)
AMOUNTS = (
    *("available", "pendingOut", "pendingIn", "pendingRetired", "retired", "expired", "blocked"),
    *("issued", "received", "sent"),
)

Values = tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """A part of an order: kind `send`, `retire` or `keep`; `to` is the recipient of what is sent."""

    kind: str
    amount: int
    to: str | None = None


@dataclass(repr=False)
class BookGgo:
    """A GGO, and where its Wh are.

    `state`: held, elsewhere, arriving, retiring, retired, spent; `origin`: issued or received, as the
    owner counts it; `unsent`: no ledger knows it.
    """

    id: int
    owner: str
    amount: int
    begin: datetime
    sector: str
    codes: tuple[str, str]
    expires: datetime
    state: str = "held"
    sender: str | None = None
    unsent: bool = False
    mismatch: bool = False
    parent: "BookGgo | None" = None
    in_flight: bool = False

    def __repr__(self) -> str:
        return f"<{self.state} {self.id}: {self.amount} Wh of {self.owner}>"


@dataclass(repr=False)
class BookBatch:
    """An order in flight or ended. `state`: pending, completed or declined."""

    id: int
    source: BookGgo
    pieces: Sequence[Piece]
    parts: list[BookGgo]
    state: str = "pending"

    def __repr__(self) -> str:
        return f"<batch {self.id} of {self.source}: {self.parts}>"


@dataclass
class Bookkeeper:
    """Balances of accounts now, as the contract defines them."""

    ledger_enabled: bool = True
    ggos: list[BookGgo] = field(default_factory=list)
    known: dict[int, BookGgo] = field(default_factory=dict)
    """All GGOs that ever were, by id."""
    flows: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)
    """Wh by account and flow, then by the id of the GGO whose group they count to."""

    def count(self, user: str, flow: str, ggo: BookGgo, amount: int) -> None:
        self.known[ggo.id] = ggo
        counted = self.flows.setdefault((user, flow), {})
        counted[ggo.id] = counted.get(ggo.id, 0) + amount

    def issue(self, ggo: BookGgo) -> None:
        self.ggos.append(ggo)
        self.count(ggo.owner, "issued", ggo, ggo.amount)

    def accept(self, batch: BookBatch) -> None:
        """Put the pieces of an order on their way."""
        source = batch.source
        source.state = "spent"
        if not batch.parts:
            source.state = "retiring"
        for piece, part in zip(batch.pieces, batch.parts, strict=False):
            part.state = {"send": "arriving", "retire": "retiring", "keep": "held"}[piece.kind]
            if part.owner == source.owner and piece.kind == "send":
                part.state = "held"
            part.in_flight = True
            self.ggos.append(part)

    def complete(self, batch: BookBatch) -> None:
        batch.state = "completed"
        for ggo in batch.parts or [batch.source]:
            ggo.in_flight = False
            if ggo.state == "retiring":
                ggo.state = "retired"
            if ggo.state == "arriving":
                ggo.state = "held"
                self.count(ggo.owner, "received", ggo, ggo.amount)
                self.count(batch.source.owner, "sent", ggo, ggo.amount)

    def decline(self, batch: BookBatch, *, elsewhere: bool) -> None:
        batch.state = "declined"
        self.ggos = [each for each in self.ggos if each not in batch.parts]
        batch.source.state = "elsewhere" if elsewhere else "held"

    def open_history(self, user: str) -> None:
        """Begin an account's history with what it has now.

        What is in flight came as its source did.
        """
        for flow in ("issued", "received", "sent"):
            self.flows[user, flow] = {}
        for ggo in self.ggos:
            is_own = ggo.owner == user and ggo.state in {"held", "elsewhere", "retiring", "retired"}
            if is_own or (ggo.sender == user and ggo.state == "arriving"):
                came_as = ggo.parent if ggo.in_flight and ggo.parent else ggo
                is_received = came_as.sender not in {None, user}
                self.count(user, "received" if is_received else "issued", ggo, ggo.amount)

    def balance(
        self, user: str, at: datetime, group: Callable[[BookGgo], Values]
    ) -> dict[Values, dict[str, int]]:
        """Return the account's balances by group; `at` decides what has expired."""
        found: dict[Values, dict[str, int]] = {}

        def add(ggo: BookGgo, name: str, amount: int) -> None:
            found.setdefault(group(ggo), dict.fromkeys(AMOUNTS, 0))[name] += amount

        for ggo in self.ggos:
            if ggo.owner == user:
                name = self._bucket(ggo, at)
                if name is not None:
                    add(ggo, name, ggo.amount)
            if ggo.sender == user and ggo.owner != user and ggo.state == "arriving":
                add(ggo, "pendingOut", ggo.amount)
        for (owner, flow), counted in self.flows.items():
            if owner == user:
                for ggo_id, amount in counted.items():
                    add(self.known[ggo_id], flow, amount)
        return {values: sums for values, sums in found.items() if any(sums.values())}

    def _bucket(self, ggo: BookGgo, at: datetime) -> str | None:
        moving = {"arriving": "pendingIn", "retiring": "pendingRetired", "retired": "retired"}
        if ggo.state in moving:
            return moving[ggo.state]
        if ggo.state == "elsewhere":
            return "blocked"
        if ggo.state == "spent":
            return None
        if ggo.expires <= at:
            return "expired"
        is_blocked = ggo.mismatch or (ggo.unsent and self.ledger_enabled)
        return "blocked" if is_blocked else "available"


def group_of(ggo: BookGgo, zone: ZoneInfo) -> dict[str, str]:
    """Return the values of each grouping of a GGO."""
    return {
        "sector": ggo.sector,
        "technology": LABELS.get(ggo.codes, "Unknown"),
        "month": f"{ggo.begin.astimezone(zone):%Y-%m}",
    }


class OrderedWorld:
    """Two accounts of their own in a real database, and what happens to their GGOs."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._run = uuid4().hex[:12]
        self._numbers = itertools.count()
        self._key_indexes = itertools.count()
        self.users = {name: self._user(name) for name in USERS}
        for (code, fuel), label in LABELS.items():
            self.sql(
                "INSERT INTO technologies VALUES (:code, :fuel, :label) ON CONFLICT DO NOTHING",
                code=code,
                fuel=fuel,
                label=label,
            )

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement in a transaction of its own; return its rows."""
        with self.database.transaction() as session:
            result: Any = session.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def _user(self, name: str) -> int:
        insert = "INSERT INTO users (subject, master_key) VALUES (:subject, 'x') RETURNING id"
        [(user_id,)] = self.sql(insert, subject=f"{name}-{self._run}")
        for kind in ("production", "consumption"):
            self.sql(
                "INSERT INTO metering_points (user_id, gsrn, type, sector, key_index) "
                "VALUES (:user, :gsrn, :kind, 'DK1', :key_index)",
                user=user_id,
                gsrn=self._gsrn(name, kind),
                kind=kind,
                key_index=0 if kind == "production" else 1,
            )
        return int(user_id)

    def _gsrn(self, name: str, kind: str) -> str:
        return f"{kind}-{name}-{self._run}"

    def subject(self, name: str) -> str:
        return f"{name}-{self._run}"

    def _address(self) -> str:
        return f"{self._run}-{next(self._numbers)}"

    def issue(
        self,
        owner: str,
        amount: int,
        begin: datetime,
        *,
        sector: str = "DK1",
        codes: tuple[str, str] = ("T1", "F1"),
        lives_s: float | None = None,
        mismatch: bool = False,
    ) -> BookGgo:
        """Issue a GGO; `lives_s` seconds later it expires."""
        [(ggo_id, expires)] = self.sql(
            'INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, '
            "fuel_code, issue_time, expire_time, issue_gsrn, key_mismatch, stored, created_at) "
            "SELECT :owner, :address, :amount, :begin, :end, :sector, :code, :fuel, :begin, "
            "coalesce(at + make_interval(secs => :lives), :far), :gsrn, :mismatch, true, at "
            "FROM entry_time() AS at RETURNING id, expire_time",
            owner=self.users[owner],
            address=self._address(),
            amount=amount,
            begin=begin,
            end=begin + timedelta(hours=1),
            sector=sector,
            code=codes[0],
            fuel=codes[1],
            lives=lives_s,
            far=FAR,
            gsrn=self._gsrn(owner, "production"),
            mismatch=mismatch,
        )
        return BookGgo(ggo_id, owner, amount, begin, sector, codes, expires, mismatch=mismatch)

    def compose(
        self, source: BookGgo, pieces: Sequence[Piece], *, sent: bool = True
    ) -> BookBatch | None:
        """Accept an order; without `sent` it is completed without a ledger. None: it came too late."""
        parts = [self._part(source, piece) for piece in pieces]
        targets = [
            PartTarget(part, next(self._key_indexes), self._address())
            for part in ([] if is_whole_retire(parts) else parts)
        ]
        [row] = self.sql(
            'SELECT id, owner_id, address, amount, begin, "end", sector, expire_time, stored, '
            "retired, locked, key_mismatch FROM ggos WHERE id = :id",
            id=source.id,
        )
        accounts = {part.owner_id for part in parts} | {self.users[source.owner]}
        with self.database.raw_connection(transaction=True) as raw:
            made = write(raw, Source(*row), accounts, parts, targets, SentCompose("{}"))
            if made is not None and not sent:
                complete_unsent(raw, source.id, made.batch_id)
        if made is None:
            return None
        batch = BookBatch(made.batch_id, source, pieces, [])
        self._read_parts(batch, unsent=not sent)
        return batch

    def _part(self, source: BookGgo, piece: Piece) -> Part:
        if piece.kind == "send":
            assert piece.to is not None
            return Part(PartKind.TRANSFER, self.users[piece.to], piece.amount, "for you")
        owner = self.users[source.owner]
        if piece.kind == "keep":
            return Part(PartKind.REMAINDER, owner, piece.amount)
        gsrn = self._gsrn(source.owner, "consumption")
        return Part(PartKind.RETIRE, owner, piece.amount, None, gsrn, "a measurement")

    def _read_parts(self, batch: BookBatch, *, unsent: bool = False) -> None:
        """Read which GGOs the order has made."""
        names = {user_id: name for name, user_id in self.users.items()}
        source = batch.source
        batch.parts = [
            BookGgo(
                ggo_id,
                names[owner_id],
                amount,
                source.begin,
                source.sector,
                source.codes,
                source.expires,
                sender=source.owner,
                unsent=unsent,
                parent=source,
            )
            for ggo_id, owner_id, amount in self.sql(
                "SELECT id, owner_id, amount FROM ggos WHERE parent_id = :id ORDER BY split_position",
                id=source.id,
            )
        ]

    def complete(self, batch: BookBatch) -> None:
        with self.database.transaction() as session:
            assert complete_batches(session, [batch.id]) == [batch.id]

    def decline(self, batch: BookBatch, *, elsewhere: bool) -> None:
        with self.database.transaction() as session:
            assert decline_batch(session, batch.id, "no", spent_elsewhere=elsewhere)

    def redo(self, batch: BookBatch) -> None:
        """Do a declined order again: it makes new GGOs at the same addresses."""
        with self.database.transaction() as session:
            assert redo_batch(session, batch.id)
        self._read_parts(batch)

    def open_history(self, user: str) -> None:
        self.sql("UPDATE users SET history_from = entry_time() WHERE id = :id", id=self.users[user])

    def forget_times(self, but: Sequence[int] = ()) -> None:
        """Leave the GGOs as earlier versions wrote them, but for these and their parts."""
        self.sql(
            "UPDATE ggos SET settled_at = NULL, spent_at = NULL, retired_at = NULL "
            "WHERE owner_id = ANY(:users) AND NOT id = ANY(:but) "
            "AND coalesce(NOT parent_id = ANY(:but), true)",
            users=list(self.users.values()),
            but=list(but),
        )
