"""Who could supply: other accounts, by what they store (contract: http-api, find-suppliers)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, Select, cast, func, select
from sqlalchemy.orm import Session

from origin.db.models import Ggo, User
from origin.ggos.queries.expiry import is_not_expired


def find_suppliers(session: Session, user_id: int, **wanted: Any) -> list[str]:
    """The subjects of other active accounts that store enough, often enough.

    :param user_id: Who asks.
    :param wanted: As of `suppliers`.
    :returns: most begins that reach `min_amount` first, then by subject.
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
    """The query behind `find_suppliers`: reads an index, and of that only the days asked for.

    Of the begins at which an account stores anything, the share whose sum reaches `min_amount`
    (Wh) must be at least `min_coverage`. Expired GGOs don't count.

    :param begin: The first begin that counts.
    :param end: The begin from which on none counts.
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
