"""Filters over GGOs and transfers (contract: http-api.md, Filters)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Category(Enum):
    """A subset of an account's GGOs."""

    ISSUED = "issued"
    """Issued to one of the user's own metering points, in any state."""
    STORED = "stored"
    """Held now, and not expired."""
    RETIRED = "retired"
    EXPIRED = "expired"
    """Held, but expired."""


@dataclass(frozen=True)
class GgoFilters:
    """Filters, combined by AND. None or an empty sequence doesn't filter. Times are in UTC."""

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
    """Filters over transfers: those of the transferred GGOs, and the sender's reference."""

    reference: Sequence[str] = ()


class Direction(Enum):
    """The direction of a transfer, from the caller's view."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
