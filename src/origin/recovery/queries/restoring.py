"""SQL that restores GGOs by the ledger's state: one source GGO a transaction."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from origin.batches.queries.outcomes import (
    INHERITED_COLUMNS,
    complete_batches,
    decline_batch,
    redo_batch,
)
from origin.batches.queries.queue import add_events
from origin.batches.queries.spendings import (
    declined_spendings,
    sources_under_way,
    spendings_of,
)
from origin.batches.rules.ledger_state import settlement_address_or_text
from origin.db.models import Batch, Ggo, Operation, Transaction
from origin.ggos.queries.by_id import addresses_of, amounts_of_parts
from origin.recovery.rules import (
    AddressOwner,
    DatabaseGgo,
    GgoState,
    LedgerTree,
    Restoration,
    RestoredPart,
    RetiredTo,
    compare,
    stands,
)
from origin.webhooks.queries.outbox import announce_issued

_STORED = {"stored": True, "locked": False, "spent_elsewhere": False}
_SPENT = {"stored": False, "locked": False, "spent_elsewhere": False}
"""The flags of a GGO whose parts or retirement the database has."""
_BLOCKED = {"stored": False, "locked": True, "spent_elsewhere": True}
"""The flags of a GGO that is spent on the ledger, while the database lacks what it became."""

_OWNERS_IN_DECLINED = text(
    "SELECT part->>'address' AS address, (part->>'owner_id')::bigint AS owner_id, "
    "(part->>'key_index')::bigint AS key_index "
    "FROM batches JOIN ggos ON ggos.id = batches.ggo_id "
    "CROSS JOIN LATERAL jsonb_array_elements(undone->'parts') AS part "
    "WHERE state = 'DECLINED' AND ggos.address = ANY(:sources) "
    "AND part->>'address' = ANY(:addresses)"
)


@dataclass(frozen=True)
class KnownGgo:
    """A GGO of the database, and what recovery needs around it.

    :ivar parent: The address of the GGO it is a part of; None: it was issued.
    :ivar is_part_of_live: It is a part of a batch under way.
    """

    id: int
    owner_id: int
    begin: datetime
    ggo: DatabaseGgo
    parent: str | None
    is_part_of_live: bool


class Outcome(Enum):
    """The result of restoring one source. FAILED and CONTRARY stand in reports."""

    NOTHING = "nothing was to be done"
    COMPLETED = "the batch that the ledger has committed is completed"
    RESTORED = "what the ledger has stands here"
    CONTRARY = "it is spent here for something else; nothing was done"
    FAILED = "it can't be put in place now; the log has the reason. Run it again"


def count_issued(session: Session) -> int:
    """Return how many issued GGOs there are."""
    return session.scalar(select(func.count(Ggo.id)).where(Ggo.issue_gsrn.is_not(None))) or 0


def read_by_ids(session: Session, ids: Collection[int]) -> list[KnownGgo]:
    """Return the GGOs with these ids, by id."""
    return _read_known(session, Ggo.id.in_(ids))


def read_by_addresses(session: Session, addresses: Collection[str]) -> list[KnownGgo]:
    """Return the GGOs at these addresses, by id."""
    return _read_known(session, Ggo.address.in_(addresses))


def addresses_here(session: Session, addresses: Iterable[str]) -> set[str]:
    """Return those of these addresses that the database has a GGO at."""
    return set(session.scalars(select(Ggo.address).where(Ggo.address.in_(list(addresses)))))


def _read_known(session: Session, condition: ColumnElement[bool]) -> list[KnownGgo]:
    """Return the GGOs that this condition holds for, by id.

    A GGO may change afterwards: `restore` reads it again under its lock.
    """
    rows = session.execute(select(Ggo).where(condition).order_by(Ggo.id)).scalars().all()
    ids = [row.id for row in rows]
    parent_ids = [row.parent_id for row in rows if row.parent_id is not None]
    parents = addresses_of(session, parent_ids)
    live = sources_under_way(session, [*ids, *parent_ids])
    parts = amounts_of_parts(session, ids)
    return [
        KnownGgo(
            row.id,
            row.owner_id,
            row.begin,
            _database_ggo(row, parts.get(row.id, {}), is_live=row.id in live),
            None if row.parent_id is None else parents[row.parent_id],
            row.parent_id in live,
        )
        for row in rows
    ]


def _database_ggo(ggo: Ggo, parts: Mapping[str, int], *, is_live: bool) -> DatabaseGgo:
    retired_to = ggo.retire_address
    return DatabaseGgo(
        address=ggo.address,
        amount=ggo.amount,
        stored=ggo.stored,
        retired=ggo.retired,
        settlement=None if retired_to is None else settlement_address_or_text(retired_to),
        parts=parts,
        is_live=is_live,
        never_sent=ggo.never_sent,
    )


def owners_of(
    session: Session, addresses: Collection[str], sources: Collection[str]
) -> dict[str, AddressOwner]:
    """Return the owners of those of these addresses that the database knows.

    :param sources: GGOs whose declined batches are read as well: they keep their parts' owners.
    """
    wanted = {"addresses": list(addresses), "sources": list(sources)}
    declined = session.execute(_OWNERS_IN_DECLINED, wanted)
    found = {row.address: AddressOwner(row.owner_id, row.key_index) for row in declined}
    rows = session.execute(
        select(Ggo.address, Ggo.owner_id, Ggo.key_index).where(Ggo.address.in_(list(addresses)))
    )
    return found | {row.address: AddressOwner(row.owner_id, row.key_index) for row in rows}


def free_addresses(session: Session, wanted: Restoration) -> list[int]:
    """Decline batches under way of other sources that split to addresses of this one's parts.

    The ledger can't commit them any more, as it takes no address twice. There are such batches if a
    database that fell back handed out key indexes a second time.

    :returns: the batches that were declined.
    """
    parent = aliased(Ggo)
    found = session.scalars(
        select(Batch.id)
        .join(parent, parent.id == Batch.ggo_id)
        .join(Ggo, Ggo.parent_id == parent.id)
        .where(
            Batch.ended_at.is_(None),
            Ggo.address.in_([part.address for part in wanted.parts]),
            parent.address != wanted.source.address,
        )
        .distinct()
        .order_by(Batch.id)
    ).all()
    reason = "recovery: on the ledger another operation uses one of its addresses"
    return [each for each in found if decline_batch(session, each, reason)]


def restore(session: Session, wanted: Restoration, tree: LedgerTree) -> Outcome:
    """Store what became of a GGO on the ledger, in the caller's transaction.

    Announces the parts that are unspent to their owners, unless the database had them before. Reads
    the source again under its lock: so a repetition, or a worker that was faster, leaves nothing to
    do.

    :param tree: What the ledger has of the source, and of what it became.
    """
    source, live, parts = _lock(session, wanted.source.address)
    if source is None:
        return Outcome.NOTHING
    if source.parent_id in live:
        # The batch of its split could not be ended, and would find its parts changed.
        return Outcome.FAILED
    amounts = {part.address: part.amount for part in parts}
    here = _database_ggo(source, amounts, is_live=source.id in live)
    state = compare(here, wanted.source)
    if state is GgoState.SPENT_UNDER_WAY:
        return _end_live(session, wanted, tree, source, live[source.id])
    wrong = any(amounts.get(part.address, part.amount) != part.amount for part in wanted.parts)
    if state is GgoState.IN_STEP and wrong:
        state = GgoState.LOST
    if state is not GgoState.LOST:
        return Outcome.NOTHING if state is GgoState.IN_STEP else Outcome.CONTRARY
    if amounts and not wrong and amounts.keys() >= {part.address for part in wanted.parts}:
        # The parts that are missing still have no known owner.
        return Outcome.NOTHING
    if not parts:
        batch_id = _declined_batch(session, wanted, tree, source.id)
        if batch_id is not None and redo_batch(session, batch_id):
            # It has what the ledger does not know: references, for one.
            _complete(session, wanted, source.id, batch_id)
            return Outcome.COMPLETED
    return _spend(session, wanted, source, live, parts)


def _lock(session: Session, address: str) -> tuple[Ggo | None, dict[int, int], Sequence[Ggo]]:
    """Lock a GGO, its parts, and the batches under way that spend or make any of them.

    Batches are locked first, with the GGO's declined batches as they may be done again; then GGOs in
    the order of their ids. Others lock in the same order.

    :returns: the GGO, the batches by the id of the GGO that each spends, and the parts.
    """
    found = session.execute(select(Ggo.id, Ggo.parent_id).where(Ggo.address == address))
    source_id, parent_id = found.one_or_none() or (None, None)
    if source_id is None:
        return None, {}, ()
    family = or_(Ggo.id == source_id, Ggo.parent_id == source_id)
    spenders = or_(Batch.ggo_id.in_(select(Ggo.id).where(family)), Batch.ggo_id == parent_id)
    under_way = and_(Batch.ended_at.is_(None), spenders)
    declined = and_(Batch.ggo_id == source_id, Batch.state == "DECLINED")
    session.execute(
        select(Batch.id).where(or_(under_way, declined)).order_by(Batch.id).with_for_update()
    ).all()
    rows = session.scalars(
        select(Ggo)
        .where(family)
        .order_by(Ggo.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    batches = session.execute(select(Batch.id, Batch.ggo_id).where(under_way))
    live = {row.ggo_id: row.id for row in batches}
    source = next((row for row in rows if row.id == source_id), None)
    return source, live, [row for row in rows if row.parent_id == source_id]


def _end_live(
    session: Session, wanted: Restoration, tree: LedgerTree, source: Ggo, batch_id: int
) -> Outcome:
    """End the batch under way that spends the source: complete it if it stands on the ledger."""
    if stands(wanted, spendings_of(session, [source.id])[source.id], tree):
        _complete(session, wanted, source.id, batch_id)
        return Outcome.COMPLETED
    decline_batch(session, batch_id, "recovery: on the ledger another operation spent the source")
    add_events(session, [(batch_id, "recovered", "another operation stands on the ledger")])
    session.expire_all()
    return _spend(session, wanted, source, {}, ())


def _complete(session: Session, wanted: Restoration, source_id: int, batch_id: int) -> None:
    """Complete a batch of ours. Parts that were spent since are neither stored nor announced."""
    spent = [part for part in wanted.parts if not part.is_unspent and not part.is_retired]
    addresses = [part.address for part in spent]
    parts = update(Ggo).where(Ggo.parent_id == source_id)
    session.execute(parts.where(Ggo.address.in_(addresses)).values(stored=False))
    for part in wanted.parts:
        if part.is_retired:
            session.execute(parts.where(Ggo.address == part.address).values(_flags(part)))
    complete_batches(session, [batch_id])
    session.execute(parts.where(Ggo.address.in_(addresses)).values(_BLOCKED))
    add_events(session, [(batch_id, "recovered", "the ledger has it, part for part")])


def _declined_batch(
    session: Session, wanted: Restoration, tree: LedgerTree, source_id: int
) -> int | None:
    """Return the source's declined batch that stands on the ledger; None: none does."""
    declined = declined_spendings(session, source_id)
    return next((each for each, done in declined.items() if stands(wanted, done, tree)), None)


def _spend(
    session: Session,
    wanted: Restoration,
    source: Ggo,
    live: dict[int, int],
    parts: Sequence[Ggo],
) -> Outcome:
    """Spend the source as on the ledger: correct its parts, add the missing ones and a batch."""
    was_stored = source.stored
    is_known = bool(wanted.parts) or wanted.is_retired
    values: dict[str, Any] = dict(_SPENT if is_known else _BLOCKED)
    if wanted.retired_to is not None and wanted.is_retired:
        values |= _retired(wanted.retired_to)
    session.execute(update(Ggo).where(Ggo.id == source.id).values(values))
    if not is_known:
        return Outcome.RESTORED if was_stored else Outcome.NOTHING
    for part in parts:
        _correct(session, wanted, part, live)
    retired = _add_parts(session, wanted, source, parts)
    _add_batch(session, source, retired, is_split=bool(wanted.parts))
    return Outcome.RESTORED


def _correct(session: Session, wanted: Restoration, part: Ggo, live: dict[int, int]) -> None:
    """Give a part that the database has the amount that it has on the ledger."""
    restored = next((each for each in wanted.parts if each.address == part.address), None)
    if restored is None or restored.amount == part.amount:
        return
    if part.id in live:
        decline_batch(session, live[part.id], "recovery: on the ledger it holds another amount")
    # Its reference was that of another compose.
    values: dict[str, Any] = {"amount": restored.amount, "reference": None}
    is_split = session.scalar(select(Ggo.id).where(Ggo.parent_id == part.id).limit(1)) is not None
    if not is_split:
        values |= _flags(restored)
    if not is_split and not restored.is_retired:
        # The ledger does not have the retirement; a GGO is spent once.
        session.execute(delete(Transaction).where(Transaction.ggo_id == part.id))
    session.execute(update(Ggo).where(Ggo.id == part.id).values(values))


def _flags(part: RestoredPart) -> dict[str, Any]:
    """Return a part's flags. A part that was spent is blocked until it is restored in its turn."""
    if part.retired_to is not None and part.is_retired:
        return {**_SPENT, **_retired(part.retired_to)}
    unretired = {"retired": False, "retire_gsrn": None, "retire_address": None}
    return {**(_STORED if part.is_unspent else _BLOCKED), **unretired}


def _retired(to: RetiredTo) -> dict[str, Any]:
    return {"retired": True, "retire_gsrn": to.gsrn, "retire_address": to.measurement}


def _add_parts(
    session: Session, wanted: Restoration, source: Ggo, parts: Sequence[Ggo]
) -> list[int]:
    """Add the parts that the database does not have, and announce those that are unspent.

    :returns: the ids of all that the split's own batch retires; if there is no split, the source's.
    """
    here = {part.address for part in parts}
    missing = [part for part in wanted.parts if part.address not in here]
    if missing:
        session.execute(insert(Ggo), _rows(missing, source, parts, len(wanted.parts)))
    announce_issued(session, [part.address for part in missing if part.is_unspent])
    if not wanted.parts:
        return [source.id]
    addresses = [part.address for part in wanted.parts if part.is_retired]
    retired = select(Ggo.id).where(Ggo.parent_id == source.id, Ggo.address.in_(addresses))
    return list(session.scalars(retired.order_by(Ggo.split_position)))


def _rows(
    missing: Sequence[RestoredPart], source: Ggo, parts: Sequence[Ggo], count: int
) -> list[dict[str, Any]]:
    """Return the rows of missing parts. One whose position is taken goes behind all others.

    :param count: How many parts the split has on the ledger.
    """
    inherited = {name: getattr(source, name) for name in INHERITED_COLUMNS}
    taken = {part.split_position for part in parts}
    behind = max((each for each in taken if each is not None), default=-1) + count
    return [
        {
            **inherited,
            **_flags(part),
            "address": part.address,
            "amount": part.amount,
            "owner_id": part.owner_id,
            "sender_id": source.owner_id,
            "parent_id": source.id,
            "split_position": behind + part.position if part.position in taken else part.position,
            "key_index": part.key_index,
        }
        for part in missing
    ]


def _add_batch(session: Session, source: Ggo, retired: Sequence[int], *, is_split: bool) -> None:
    """Let a completed batch spend the source. Its signed bytes are not known."""
    batch_id = session.scalar(
        select(Batch.id).where(Batch.ggo_id == source.id, Batch.state == "COMPLETED")
    )
    if batch_id is not None:
        _part_from_operation(session, batch_id)
    else:
        batch_id = session.scalars(
            insert(Batch)
            .values(
                user_id=source.owner_id,
                ggo_id=source.id,
                state="COMPLETED",
                submitted_at=func.now(),
                ended_at=func.now(),
                next_attempt_at=None,
            )
            .returning(Batch.id)
        ).one()
    add_events(
        session, [(batch_id, "recovered", "it stands on the ledger; the database had lost it")]
    )
    operations = [("split", source.id)] if is_split else []
    operations += [("retire", each) for each in retired]
    _add_transactions(session, batch_id, operations)


def _part_from_operation(session: Session, batch_id: int) -> None:
    """Take a batch that now does what the ledger has, not what was ordered, out of its operation.

    Workers make it an operation of its own. One that has no other batches is deleted: what it ordered has
    not happened.
    """
    batch = update(Batch).where(Batch.id == batch_id)
    ordered_by = session.scalar(select(Batch.operation_id).where(Batch.id == batch_id))
    session.execute(batch.values(operation_id=None, sequence=None, moved=None))
    others = select(Batch.id).where(Batch.operation_id == ordered_by).exists()
    session.execute(delete(Operation).where(Operation.id == ordered_by, ~others))


def _add_transactions(
    session: Session, batch_id: int, operations: Sequence[tuple[str, int]]
) -> None:
    """Add those operations (type, GGO id) to a batch whose GGO no batch spends yet."""
    ids = [ggo_id for _, ggo_id in operations]
    known = set(session.scalars(select(Transaction.ggo_id).where(Transaction.ggo_id.in_(ids))))
    first = session.scalar(
        select(func.coalesce(func.max(Transaction.position) + 1, 0)).where(
            Transaction.batch_id == batch_id
        )
    )
    missing = [(kind, ggo_id) for kind, ggo_id in operations if ggo_id not in known]
    if missing:
        session.execute(
            insert(Transaction),
            [
                {
                    "batch_id": batch_id,
                    "type": kind,
                    "ggo_id": ggo_id,
                    "position": (first or 0) + place,
                }
                for place, (kind, ggo_id) in enumerate(missing)
            ],
        )
