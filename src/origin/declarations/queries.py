"""What an environment declaration reads from the database."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import BigInteger, Text, and_, cast, extract, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from origin.db.models import Ggo, MeteringPoint, Technology, Transaction
from origin.declarations.rules.consumption import RetiredRow


def consumption_sectors(session: Session, user_id: int, gsrns: Iterable[str]) -> dict[str, str]:
    """Return the sectors, by GSRN, of those points that are the user's consumption metering points."""
    rows = session.execute(
        select(MeteringPoint.gsrn, MeteringPoint.sector).where(
            MeteringPoint.user_id == user_id,
            MeteringPoint.type == "consumption",
            MeteringPoint.gsrn.in_(list(gsrns)),
        )
    )
    return {row.gsrn: row.sector for row in rows}


def retired_to(
    session: Session, owner_id: int, gsrns: Iterable[str], begin: datetime, end: datetime
) -> Iterator[RetiredRow]:
    """Yield the GGOs retired to these points in periods that begin in the range, both ends included.

    The columns are those of `RetiredGgo`. Within a period the rows are in the order of retiring. GGOs
    in flight are included.
    """
    # PostgreSQL makes one array per period: a year of fifty points has half a million rows, and
    # fetching each of them costs four times as much.
    columns = func.json_build_array(
        Ggo.retire_gsrn,
        cast(extract("epoch", Ggo.begin), BigInteger),
        Ggo.amount,
        Technology.technology,
        cast(Ggo.emissions, Text),
    )
    periods = session.scalars(
        select(cast(func.json_agg(aggregate_order_by(columns, Transaction.id, Ggo.id)), Text))
        .select_from(Ggo)
        .outerjoin(
            Technology,
            and_(
                Technology.technology_code == Ggo.technology_code,
                Technology.fuel_code == Ggo.fuel_code,
            ),
        )
        .outerjoin(Transaction, and_(Transaction.ggo_id == Ggo.id, Transaction.type == "retire"))
        .where(
            Ggo.owner_id == owner_id,
            Ggo.retired,
            Ggo.retire_gsrn.in_(list(gsrns)),
            Ggo.begin.between(begin, end),
        )
        .group_by(Ggo.begin)
        .order_by(Ggo.begin)
    )
    parsed = _EmissionsByText()
    for period in periods:
        for gsrn, start, amount, technology, emissions in orjson.loads(period):
            yield gsrn, start, amount, technology, parsed[emissions]


class _EmissionsByText(dict[str | None, Any]):
    """Emissions (g/Wh by name) by their JSON: hundreds of thousands of GGOs share a few texts."""

    def __missing__(self, text: str | None) -> Any:
        emissions = None if text is None else json.loads(text, parse_float=Decimal)
        self[text] = emissions
        return emissions
