"""What a compose reads and writes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, func, insert, select, text, update
from sqlalchemy.orm import Session

from origin.db.locks import lock_name
from origin.db.models import Batch, Ggo, MeteringPoint, Transaction, User
from origin.domain.compose import Part, PartKind, Source, is_whole_retire

_NO_SYNC = {"synchronize_session": False}


@dataclass(frozen=True)
class Account:
    """An account that takes part in a compose; its master key is sealed."""

    id: int
    subject: str
    disabled: bool
    master_key: str


@dataclass(frozen=True)
class Point:
    """A consumption metering point of the caller's; its key is `m/1/key_index`."""

    id: int
    gsrn: str
    key_index: int


@dataclass(frozen=True)
class Target:
    """A part that becomes a GGO of its own, with its key's index and the address it gives."""

    part: Part
    key_index: int
    address: str


def find_source(session: Session, owner_id: int, address: str, *, lock: bool) -> Source | None:
    """The owner's GGO at this address.

    :param lock: Keep it from changing until the transaction ends.
    """
    query = select(
        Ggo.id,
        Ggo.owner_id,
        Ggo.address,
        Ggo.amount,
        Ggo.begin,
        Ggo.end,
        Ggo.sector,
        Ggo.expire_time,
        Ggo.stored,
        Ggo.retired,
        Ggo.locked,
        Ggo.key_mismatch,
    ).where(Ggo.address == address, Ggo.owner_id == owner_id)
    row = session.execute(query.with_for_update() if lock else query).one_or_none()
    return Source(**row._mapping) if row else None  # noqa: SLF001 - SQLAlchemy's public API


def find_accounts(session: Session, caller_id: int, subjects: Iterable[str]) -> dict[str, Account]:
    """The caller's account and those of these subjects that exist, by subject."""
    rows = session.execute(
        select(User.id, User.subject, User.disabled_at.is_not(None), User.master_key).where(
            (User.id == caller_id) | User.subject.in_(list(subjects))
        )
    )
    return {row.subject: Account(*row) for row in rows}


def lock_accounts(session: Session, user_ids: Iterable[int]) -> set[int]:
    """Keep accounts from being disabled until the transaction ends; those that are already.

    In id order, and so weak a lock that nothing else waits for it.
    """
    rows = session.execute(
        select(User.id, User.disabled_at)
        .where(User.id.in_(list(user_ids)))
        .order_by(User.id)
        .with_for_update(key_share=True, read=True)
    )
    return {row.id for row in rows if row.disabled_at is not None}


def find_points(session: Session, user_id: int, gsrns: Iterable[str]) -> dict[str, Point]:
    """Those of the GSRNs that are the user's own consumption points."""
    rows = session.execute(
        select(MeteringPoint.id, MeteringPoint.gsrn, MeteringPoint.key_index).where(
            MeteringPoint.user_id == user_id,
            MeteringPoint.type == "consumption",
            MeteringPoint.gsrn.in_(list(gsrns)),
        )
    )
    return {row.gsrn: Point(*row) for row in rows}


def allocate_trade_indexes(session: Session, counts: dict[int, int]) -> dict[int, int]:
    """Hand out indexes k of `m/0/k`, never to be handed out again.

    In a transaction of its own and short, so that composes of one sender don't wait for each
    other's commit. It needn't be flushed: the transaction that uses the indexes commits later,
    and its flush covers this one's record in the log, which comes before.

    :param counts: How many, by user id.
    :returns: the first of each user's, by user id.
    """
    session.execute(text("SET LOCAL synchronous_commit = off"))
    ids = sorted(counts)
    if len(ids) > 1:
        # In id order, or two that share recipients could wait for each other.
        lock = select(User.id).where(User.id.in_(ids)).order_by(User.id)
        session.execute(lock.with_for_update(key_share=True)).all()
    wanted = (
        select(
            func.unnest(ids, type_=BigInteger).label("user_id"),
            func.unnest([counts[each] for each in ids], type_=BigInteger).label("count"),
        )
    ).subquery()
    rows = session.execute(
        update(User)
        .where(User.id == wanted.c.user_id)
        .values(next_trade_index=User.next_trade_index + wanted.c.count)
        .returning(User.id, User.next_trade_index)
        .execution_options(**_NO_SYNC)
    )
    return {user_id: following - counts[user_id] for user_id, following in rows}


def lock_measurements(session: Session, addresses: Iterable[str]) -> None:
    """Have the measurements at these addresses to oneself until the transaction ends."""
    for address in sorted(addresses):
        lock_name(session, f"measurement:{address}")


def retired_to(session: Session, addresses: Sequence[str]) -> dict[str, int]:
    """The Wh retired to the measurements at these addresses, in flight included."""
    rows = session.execute(
        select(Ggo.retire_address, func.sum(Ggo.amount))
        .where(Ggo.retired, Ggo.retire_address.in_(addresses))
        .group_by(Ggo.retire_address)
    )
    return {str(address): int(amount) for address, amount in rows}


def write_whole_retire(session: Session, source: Source, part: Part) -> None:
    """Retire the whole source, and leave the batch that will tell the ledger."""
    _update_source(
        session,
        source,
        stored=False,
        retired=True,
        retire_gsrn=part.retire_gsrn,
        retire_address=part.retire_address,
    )
    _insert_batch(session, source, [("retire", source.id)])


def write_split(session: Session, source: Source, targets: Sequence[Target]) -> None:
    """Split the source into these targets, and leave the batch that will tell the ledger."""
    assert not is_whole_retire([target.part for target in targets])
    _update_source(session, source, stored=False)
    children = _insert_children(session, source, targets)
    retires = [
        ("retire", child_id)
        for child_id, target in zip(children, targets, strict=True)
        if target.part.kind is PartKind.RETIRE
    ]
    _insert_batch(session, source, [("split", source.id), *retires])


def _update_source(session: Session, source: Source, **values: Any) -> None:
    session.execute(
        update(Ggo)
        .where(Ggo.id == source.id)
        .values(locked=True, **values)
        .execution_options(**_NO_SYNC)
    )


def _insert_children(session: Session, source: Source, targets: Sequence[Target]) -> Sequence[int]:
    """The children's ids, in the order of the targets."""
    inherited = session.execute(
        select(
            Ggo.begin,
            Ggo.end,
            Ggo.sector,
            Ggo.technology_code,
            Ggo.fuel_code,
            Ggo.emissions,
            Ggo.issue_time,
            Ggo.expire_time,
        ).where(Ggo.id == source.id)
    ).one()
    rows = [
        {
            **inherited._mapping,  # noqa: SLF001 - SQLAlchemy's public API
            "owner_id": target.part.owner_id,
            "address": target.address,
            "amount": target.part.amount,
            "parent_id": source.id,
            "split_position": position,
            "sender_id": source.owner_id,
            "reference": target.part.reference,
            "key_index": target.key_index,
            "stored": target.part.kind is not PartKind.RETIRE,
            "retired": target.part.kind is PartKind.RETIRE,
            "locked": True,
            "retire_gsrn": target.part.retire_gsrn,
            "retire_address": target.part.retire_address,
        }
        for position, target in enumerate(targets)
    ]
    statement = insert(Ggo).returning(Ggo.id, sort_by_parameter_order=True)
    return session.scalars(statement, rows).all()


def _insert_batch(session: Session, source: Source, operations: Sequence[tuple[str, int]]) -> None:
    batch_id = session.scalar(
        insert(Batch).values(user_id=source.owner_id, ggo_id=source.id).returning(Batch.id)
    )
    session.execute(
        insert(Transaction),
        [
            {"batch_id": batch_id, "position": position, "type": kind, "ggo_id": ggo_id}
            for position, (kind, ggo_id) in enumerate(operations)
        ],
    )
