"""SQL of a recovery's progress, and of the counters of key indexes, which it moves first."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.models import Ggo, Recovery, User
from origin.keys.derivation import HARDENED

_LOCK = "hashtextextended('recovery', 0)"
MAX_INDEX = HARDENED - 1


@dataclass(frozen=True)
class KeyOwner:
    """A user, and what the database knows of the indexes of their keys.

    :ivar known: One more than the highest k of `m/0/k` that a GGO in the database has.
    :ivar next_trade_index: The next k that the database would hand out.
    :ivar next_point_index: The next i of `m/1/i` that the database would hand out.
    """

    id: int
    subject: str
    sealed_master_key: str
    is_active: bool
    known: int
    next_trade_index: int
    next_point_index: int


@contextmanager
def only_one(database: Database) -> Iterator[bool]:
    """Hold the one recovery of this database for as long as the block lasts.

    :returns: False if another process holds it.
    """
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        alone = connection.scalar(text(f"SELECT pg_try_advisory_lock({_LOCK})"))
        try:
            yield bool(alone)
        finally:
            if alone:
                connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))


def unfinished(session: Session) -> Recovery | None:
    """Return the recovery that was begun last, if it is not finished."""
    last = session.scalar(select(Recovery).order_by(Recovery.id.desc()).limit(1))
    return last if last is not None and last.finished_at is None else None


def begin(session: Session, margin: int) -> Recovery:
    """Begin a recovery, and move all counters of key indexes on by the margin.

    Both in one transaction: whatever happens later, no index that may have been handed out since the
    backup is handed out again.
    """
    recovery = Recovery(margin=margin)
    session.add(recovery)
    # In the order of ids, as handing out indexes does.
    session.execute(select(User.id).order_by(User.id).with_for_update(key_share=True)).all()
    session.execute(
        update(User).values(
            next_trade_index=func.least(User.next_trade_index + margin, MAX_INDEX),
            next_metering_point_index=func.least(
                User.next_metering_point_index + margin, MAX_INDEX
            ),
        )
    )
    session.flush()
    return recovery


def note_progress(session: Session, recovery_id: int, stage: str, cursor: int) -> None:
    """Store how far a recovery is."""
    session.execute(
        update(Recovery).where(Recovery.id == recovery_id).values(stage=stage, cursor=cursor)
    )


def finish(session: Session, recovery_id: int) -> None:
    """Store that a recovery is finished."""
    session.execute(
        update(Recovery).where(Recovery.id == recovery_id).values(finished_at=func.now())
    )


def begin_histories(session: Session) -> None:
    """Let all accounts' entries begin now, with what the accounts have: the past was changed.

    Each account gets its own time, so that its balance then is settled.
    """
    # In the order of ids, as handing out indexes does.
    session.execute(select(User.id).order_by(User.id).with_for_update(key_share=True)).all()
    session.execute(update(User).values(history_from=func.entry_time()))


def key_owners(session: Session) -> list[KeyOwner]:
    """Return all users, by id."""
    highest = (
        select(Ggo.owner_id, func.max(Ggo.key_index).label("k"))
        .where(Ggo.key_index.is_not(None))
        .group_by(Ggo.owner_id)
        .subquery()
    )
    rows = session.execute(
        select(User, func.coalesce(highest.c.k + 1, 0))
        .outerjoin(highest, highest.c.owner_id == User.id)
        .order_by(User.id)
    )
    return [
        KeyOwner(
            user.id,
            user.subject,
            user.master_key,
            user.disabled_at is None,
            known,
            user.next_trade_index,
            user.next_metering_point_index,
        )
        for user, known in rows
    ]


def move_trade_counters(session: Session, highest: Mapping[int, int], margin: int) -> int:
    """Move the users' counters beyond the highest k by the margin; never back.

    :param highest: The highest k that was found, by user id.
    :returns: how many counters were moved.
    """
    moved = 0
    for user_id in sorted(highest):
        beyond = min(highest[user_id] + 1 + margin, MAX_INDEX)
        row = session.execute(
            update(User)
            .where(User.id == user_id, User.next_trade_index < beyond)
            .values(next_trade_index=beyond)
            .returning(User.id)
        ).one_or_none()
        moved += row is not None
    return moved
