"""What a caller asks of its GGOs (contract: http-api, Filters)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Category(Enum):
    """A part of an account's GGOs."""

    ISSUED = "issued"
    """Issued to one of the user's own metering points, whatever became of them."""
    STORED = "stored"
    """Held now, and not expired."""
    RETIRED = "retired"
    EXPIRED = "expired"
    """Held, past their expiry."""


@dataclass(frozen=True)
class GgoFilters:
    """Combined by AND; an empty sequence or None is no filter. Times are in UTC."""

    begin: datetime | None = None
    begin_range: tuple[datetime, datetime] | None = None
    """Both ends included."""
    address: Sequence[str] = ()
    sector: Sequence[str] = ()
    technology_code: Sequence[str] = ()
    fuel_code: Sequence[str] = ()
    issue_gsrn: Sequence[str] = ()
    retire_gsrn: Sequence[str] = ()
    retire_address: Sequence[str] = ()
    category: Category | None = None


@dataclass(frozen=True)
class TransferFilters(GgoFilters):
    """Filters over transfers: those of the GGOs that were transferred, and more."""

    reference: Sequence[str] = ()


class Direction(Enum):
    """Of a transfer, as the asking account sees it."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
