"""The database's side of a recovery: what is here, and mending it, one source GGO a transaction."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import and_, delete, func, insert, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from origin.batches.queries.operations import declined_operations, operations_on
from origin.batches.queries.outcomes import (
    INHERITED_COLUMNS,
    complete_batches,
    decline_batch,
    redo_batch,
)
from origin.batches.queries.queue import note
from origin.batches.rules.standing import settlement_address_of
from origin.db.models import Batch, Ggo, Transaction
from origin.recovery.rules import (
    Here,
    Holder,
    Mend,
    Part,
    RetiredTo,
    Standing,
    Tree,
    compare,
    stands,
)
from origin.webhooks.queries.outbox import announce_issued

_STORED = {"stored": True, "locked": False, "spent_elsewhere": False}
_SPENT = {"stored": False, "locked": False, "spent_elsewhere": False}
"""How a GGO stands that was turned into what stands here, too."""
_BLOCKED = {"stored": False, "locked": True, "spent_elsewhere": True}
"""How one stands that was spent on the ledger by what doesn't stand here, or not yet."""

_UNDONE = text(
    "SELECT part->>'address' AS address, (part->>'owner_id')::bigint AS owner_id, "
    "(part->>'key_index')::bigint AS key_index "
    "FROM batches JOIN ggos ON ggos.id = batches.ggo_id "
    "CROSS JOIN LATERAL jsonb_array_elements(undone->'parts') AS part "
    "WHERE state = 'DECLINED' AND ggos.address = ANY(:sources) "
    "AND part->>'address' = ANY(:addresses)"
)


@dataclass(frozen=True)
class Known:
    """A GGO of the database's: how it stands, whose it is, and what it was split from."""

    id: int
    owner_id: int
    begin: datetime
    here: Here
    parent: str | None
    is_part_of_live: bool


class Outcome(Enum):
    """What mending one source came to."""

    NOTHING = "nothing was to be done"
    COMPLETED = "the batch that the ledger has committed is completed"
    MENDED = "what the ledger has stands here"
    CONTRARY = "it is spent here for something else; nothing was done"
    FAILED = "it can't be put in place now; the log has the reason. Run it again"


def next_ids(session: Session, beyond: int, limit: int) -> list[int]:
    """The next GGOs' ids above this one, ascending."""
    query = select(Ggo.id).where(Ggo.id > beyond).order_by(Ggo.id).limit(limit)
    return list(session.scalars(query))


def read_known(session: Session, which: Any) -> list[Known]:
    """The GGOs that this condition holds for, in the order of their ids.

    One that changes meanwhile is looked at again under its lock, before anything is done.
    """
    rows = session.execute(select(Ggo).where(which).order_by(Ggo.id)).scalars().all()
    ids = [row.id for row in rows]
    parent_ids = [row.parent_id for row in rows if row.parent_id is not None]
    parents = {
        row.id: row.address
        for row in session.execute(select(Ggo.id, Ggo.address).where(Ggo.id.in_(parent_ids)))
    }
    live = set(
        session.scalars(
            select(Batch.ggo_id).where(
                Batch.ended_at.is_(None), Batch.ggo_id.in_([*ids, *parent_ids])
            )
        )
    )
    parts: dict[int, dict[str, int]] = defaultdict(dict)
    for part in session.execute(
        select(Ggo.parent_id, Ggo.address, Ggo.amount).where(Ggo.parent_id.in_(ids))
    ):
        parts[part.parent_id][part.address] = part.amount
    return [
        Known(
            row.id,
            row.owner_id,
            row.begin,
            _here(row, parts[row.id], is_live=row.id in live),
            None if row.parent_id is None else parents[row.parent_id],
            row.parent_id in live,
        )
        for row in rows
    ]


def _here(ggo: Ggo, parts: Mapping[str, int], *, is_live: bool) -> Here:
    retired_to = ggo.retire_address
    return Here(
        address=ggo.address,
        amount=ggo.amount,
        stored=ggo.stored,
        retired=ggo.retired,
        settlement=None if retired_to is None else settlement_address_of(retired_to),
        parts=parts,
        is_live=is_live,
        never_sent=ggo.never_sent,
    )


def holders_of(
    session: Session, addresses: Collection[str], sources: Collection[str]
) -> dict[str, Holder]:
    """Whose these addresses are, as far as the database has them.

    :param sources: GGOs whose declined batches are asked as well: a rollback keeps what it removes.
    """
    wanted = {"addresses": list(addresses), "sources": list(sources)}
    undone = session.execute(_UNDONE, wanted)
    found = {row.address: Holder(row.owner_id, row.key_index) for row in undone}
    rows = session.execute(
        select(Ggo.address, Ggo.owner_id, Ggo.key_index).where(Ggo.address.in_(list(addresses)))
    )
    return found | {row.address: Holder(row.owner_id, row.key_index) for row in rows}


def free_addresses(session: Session, wanted: Mend) -> list[int]:
    """Decline batches under way of other sources that split to addresses of this one's parts.

    The ledger can't commit them any more: it takes no address twice. It is so where key indexes were
    handed out a second time, by a database that fell back.

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
            parent.address != wanted.there.address,
        )
        .distinct()
        .order_by(Batch.id)
    ).all()
    reason = "recovery: on the ledger another operation uses one of its addresses"
    return [each for each in found if decline_batch(session, each, reason)]


def mend(session: Session, wanted: Mend, tree: Tree) -> Outcome:
    """Have this GGO stand here as the ledger has it; all in the caller's transaction.

    What it was turned into and is unspent is announced to its owners, once: what is there already
    isn't announced again. Under the source's lock it is looked at anew, so that a repeat, or a worker
    that was quicker, leaves nothing to do.

    :param tree: What the ledger has of the source, and of what it became.
    """
    source, live, parts = _lock(session, wanted.there.address)
    if source is None:
        return Outcome.NOTHING
    if source.parent_id in live:
        # The batch of its split couldn't be ended, and would find its parts changed.
        return Outcome.FAILED
    amounts = {part.address: part.amount for part in parts}
    standing = compare(_here(source, amounts, is_live=source.id in live), wanted.there)
    if standing is Standing.SPENT_UNDER_WAY:
        return _end_live(session, wanted, tree, source, live[source.id])
    wrong = any(amounts.get(part.address, part.amount) != part.amount for part in wanted.parts)
    if standing is Standing.IN_STEP and wrong:
        standing = Standing.LOST
    if standing is not Standing.LOST:
        return Outcome.NOTHING if standing is Standing.IN_STEP else Outcome.CONTRARY
    if amounts and not wrong and amounts.keys() >= {part.address for part in wanted.parts}:
        # What is still missing is nobody's, as before.
        return Outcome.NOTHING
    twin = None if parts else _declined_twin(session, wanted, tree, source.id)
    if twin is not None and redo_batch(session, twin):
        # Composed here, and rolled back: it has what the ledger doesn't know.
        _complete(session, wanted, source.id, twin)
        return Outcome.COMPLETED
    return _respend(session, wanted, source, live, parts)


def _lock(session: Session, address: str) -> tuple[Ggo | None, dict[int, int], Sequence[Ggo]]:
    """Lock a GGO, its parts, and the batches under way that spend any of them (by their GGO).

    Batches first, the declined ones of the GGO among them as they may be done again, then GGOs in the
    order of their ids, as everyone does.
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


def _end_live(session: Session, wanted: Mend, tree: Tree, source: Ggo, batch_id: int) -> Outcome:
    """End the batch under way as the ledger has decided: it is what stands there, or isn't."""
    if stands(wanted, operations_on(session, [source.id])[source.id], tree):
        _complete(session, wanted, source.id, batch_id)
        return Outcome.COMPLETED
    decline_batch(session, batch_id, "recovery: on the ledger another operation spent the source")
    note(session, [(batch_id, "recovered", "another operation stands on the ledger")])
    session.expire_all()
    return _respend(session, wanted, source, {}, ())


def _complete(session: Session, wanted: Mend, source_id: int, batch_id: int) -> None:
    """Commit a batch of ours; its parts that were spent since are neither stored nor announced."""
    spent = [part for part in wanted.parts if not part.is_unspent and not part.is_retired]
    addresses = [part.address for part in spent]
    parts = update(Ggo).where(Ggo.parent_id == source_id)
    session.execute(parts.where(Ggo.address.in_(addresses)).values(stored=False))
    for part in wanted.parts:
        if part.is_retired:
            session.execute(parts.where(Ggo.address == part.address).values(_flags(part)))
    complete_batches(session, [batch_id])
    session.execute(parts.where(Ggo.address.in_(addresses)).values(_BLOCKED))
    note(session, [(batch_id, "recovered", "the ledger has it, part for part")])


def _declined_twin(session: Session, wanted: Mend, tree: Tree, source_id: int) -> int | None:
    """The declined batch that is what stands on the ledger, if there is one."""
    declined = declined_operations(session, source_id)
    return next((each for each, done in declined.items() if stands(wanted, done, tree)), None)


def _respend(
    session: Session, wanted: Mend, source: Ggo, live: dict[int, int], parts: Sequence[Ggo]
) -> Outcome:
    """Spend the source as the ledger has it."""
    was_stored = source.stored
    is_known = bool(wanted.parts) or wanted.is_retired
    values: dict[str, Any] = dict(_SPENT if is_known else _BLOCKED)
    if wanted.retired_to is not None and wanted.is_retired:
        values |= _retired(wanted.retired_to)
    session.execute(update(Ggo).where(Ggo.id == source.id).values(values))
    if not is_known:
        return Outcome.MENDED if was_stored else Outcome.NOTHING
    for part in parts:
        _correct(session, wanted, part, live)
    retired = _add(session, wanted, source, parts)
    _add_batch(session, source, retired, is_split=bool(wanted.parts))
    return Outcome.MENDED


def _correct(session: Session, wanted: Mend, part: Ggo, live: dict[int, int]) -> None:
    """Have a part that is here hold what it holds on the ledger."""
    there = next((each for each in wanted.parts if each.address == part.address), None)
    if there is None or there.amount == part.amount:
        return
    if part.id in live:
        decline_batch(session, live[part.id], "recovery: on the ledger it holds another amount")
    # Its reference was that of another compose.
    values: dict[str, Any] = {"amount": there.amount, "reference": None}
    is_split = session.scalar(select(Ggo.id).where(Ggo.parent_id == part.id).limit(1)) is not None
    if not is_split:
        values |= _flags(there)
    if not is_split and not there.is_retired:
        # What retired it here never was; a GGO is spent once.
        session.execute(delete(Transaction).where(Transaction.ggo_id == part.id))
    session.execute(update(Ggo).where(Ggo.id == part.id).values(values))


def _flags(part: Part) -> dict[str, Any]:
    """How a part stands: what was turned into something is blocked until that is mended, too."""
    if part.retired_to is not None and part.is_retired:
        return {**_SPENT, **_retired(part.retired_to)}
    unretired = {"retired": False, "retire_gsrn": None, "retire_address": None}
    return {**(_STORED if part.is_unspent else _BLOCKED), **unretired}


def _retired(to: RetiredTo) -> dict[str, Any]:
    return {"retired": True, "retire_gsrn": to.gsrn, "retire_address": to.measurement}


def _add(session: Session, wanted: Mend, source: Ggo, parts: Sequence[Ggo]) -> list[int]:
    """Add the parts that aren't here; the ids of all that the split's own batch retires."""
    inherited = {name: getattr(source, name) for name in INHERITED_COLUMNS}
    here = {part.address for part in parts}
    taken = {part.split_position for part in parts}
    following = max((each for each in taken if each is not None), default=-1) + len(wanted.parts)
    rows = [
        {
            **inherited,
            **_flags(part),
            "address": part.address,
            "amount": part.amount,
            "owner_id": part.owner_id,
            "sender_id": source.owner_id,
            "parent_id": source.id,
            "split_position": (
                following + part.position if part.position in taken else part.position
            ),
            "key_index": part.key_index,
        }
        for part in wanted.parts
        if part.address not in here
    ]
    if rows:
        session.execute(insert(Ggo), rows)
    announce_issued(
        session,
        [part.address for part in wanted.parts if part.address not in here and part.is_unspent],
    )
    if not wanted.parts:
        return [source.id]
    addresses = [part.address for part in wanted.parts if part.is_retired]
    retired = select(Ggo.id).where(Ggo.parent_id == source.id, Ggo.address.in_(addresses))
    return list(session.scalars(retired.order_by(Ggo.split_position)))


def _add_batch(session: Session, source: Ggo, retired: Sequence[int], *, is_split: bool) -> None:
    """Have a completed batch spend the source; of its bytes nothing is known."""
    batch_id = session.scalar(
        select(Batch.id).where(Batch.ggo_id == source.id, Batch.state == "COMPLETED")
    )
    if batch_id is None:
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
    note(session, [(batch_id, "recovered", "it stands on the ledger; the database had lost it")])
    operations = [("split", source.id)] if is_split else []
    operations += [("retire", each) for each in retired]
    ids = [ggo_id for _, ggo_id in operations]
    known = set(session.scalars(select(Transaction.ggo_id).where(Transaction.ggo_id.in_(ids))))
    first = session.scalar(
        select(func.coalesce(func.max(Transaction.position) + 1, 0)).where(
            Transaction.batch_id == batch_id
        )
    )
    rows = [
        {"batch_id": batch_id, "type": kind, "ggo_id": ggo_id}
        for kind, ggo_id in operations
        if ggo_id not in known
    ]
    if rows:
        session.execute(
            insert(Transaction),
            [{**row, "position": (first or 0) + place} for place, row in enumerate(rows)],
        )


def addresses_here(session: Session, addresses: Iterable[str]) -> set[str]:
    """Which of these addresses the database has a GGO at."""
    return set(session.scalars(select(Ggo.address).where(Ggo.address.in_(list(addresses)))))
