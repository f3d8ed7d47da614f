"""Find accounts that could supply energy (contract: http-api, find-suppliers)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, Select, cast, func, select
from sqlalchemy.orm import Session

from origin.db.models import Ggo, User
from origin.ggos.queries.expiry import is_not_expired


def find_suppliers(session: Session, user_id: int, **wanted: Any) -> list[str]:
    """Return the subjects of other active accounts that store enough, often enough.

    :param user_id: The caller, who is left out.
    :param wanted: The other parameters of `suppliers`.
    :returns: Those with the most begins that reach `min_amount` first, then by subject.
    """
    return list(session.scalars(suppliers(user_id, **wanted)))


def suppliers(
    user_id: int,
    *,
    begin: datetime,
    end: datetime,
    min_amount: int,
    min_coverage: float,
    now: datetime,
) -> Select[str]:
    """Return the query of `find_suppliers`. It reads one range of the index `ix_ggos_stored_begin`.

    Only GGOs that are stored and have not expired count. They are summed by account and begin. An
    account matches if at least the share `min_coverage` (0 to 1) of its sums is at least
    `min_amount` (Wh).

    :param begin: The first begin that counts.
    :param end: Begins from this one on don't count.
    """
    per_begin = (
        select(Ggo.owner_id, (func.sum(Ggo.amount) >= min_amount).label("reaches"))
        .where(Ggo.stored, Ggo.begin >= begin, Ggo.begin < end, is_not_expired(now))
        .group_by(Ggo.begin, Ggo.owner_id)
        .subquery()
    )
    reaching = func.count().filter(per_begin.c.reaches)
    per_owner = (
        select(per_begin.c.owner_id, reaching.label("reaching"))
        .group_by(per_begin.c.owner_id)
        .having(cast(reaching, Float) / func.count() >= min_coverage)
        .subquery()
    )
    return (
        select(User.subject)
        .join(per_owner, per_owner.c.owner_id == User.id)
        .where(User.id != user_id, User.disabled_at.is_(None))
        .order_by(per_owner.c.reaching.desc(), User.subject.collate("C"))
    )
