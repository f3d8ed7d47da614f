"""What an adoption counts, and when it adds up (doc/operations/adopting.md)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from origin.errors import OriginError


class CannotAdopt(OriginError):
    """The adoption can't be done now; the text says why and holds no secret. Nothing was published."""


class Kind(StrEnum):
    """The kinds of rows that an original database has; each is one table there."""

    TECHNOLOGY = "technology"
    USER = "user"
    METERING_POINT = "metering point"
    METERING_POINT_INDEX = "metering point index"
    GGO_INDEX = "GGO index"
    GGO = "GGO"
    BATCH = "batch"
    TRANSACTION = "transaction"
    SPLIT_TARGET = "split target"
    FORECAST = "forecast"
    SUBSCRIPTION = "subscription"


class EnergyState(StrEnum):
    """Where the energy of a GGO stands. Every GGO is in exactly one state."""

    STORED = "stored"
    """Stored and settled, not expired."""
    EXPIRED = "expired"
    """Stored and settled, but expired."""
    RETIRED = "retired"
    """Retired and settled."""
    IN_FLIGHT = "in flight"
    """Stored or retired by a batch that has not ended."""
    SPLIT = "split"
    """Spent: its energy is in its parts, so it doesn't count in a balance."""
    UNCLEAR = "unclear"
    """Flags that contradict each other; such GGOs are always rejected."""


@dataclass(frozen=True)
class AdoptedAccount:
    """An adopted user, whom subscriptions are sealed for."""

    id: int
    is_disabled: bool


@dataclass(frozen=True)
class Count:
    """How many rows, or Wh, the source has, and what became of them."""

    source: int
    adopted: int
    rejected: int

    @property
    def adds_up(self) -> bool:
        """Whether source = adopted + rejected."""
        return self.source == self.adopted + self.rejected


@dataclass(frozen=True)
class EnergyRow:
    """The Wh of one user in one state; `subject` is None where the source has no such user."""

    user_id: int | None
    subject: str | None
    state: str
    wh: Count


@dataclass(frozen=True)
class Rejection:
    """A row of the source that was not adopted, and why; `id` is its id in the source."""

    kind: str
    id: int | None
    reason: str


@dataclass(frozen=True)
class Report:
    """What an adoption did, or in a dry run would do. Energy in Wh.

    :ivar source: The database and schema that were read, without credentials.
    :ivar batches: Adopted batches by state and by whether they were sent to the ledger.
    :ivar notes: Counts of adopted rows that an operator should know of, by their words.
    """

    source: str
    is_dry: bool
    kinds: dict[str, Count]
    energy: Count
    energy_rows: Sequence[EnergyRow]
    batches: dict[str, int]
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def has_rejections(self) -> bool:
        """Whether any row was rejected."""
        return any(count.rejected for count in self.kinds.values())

    def energy_by_state(self) -> dict[str, Count]:
        """Return the Wh of all users by state."""
        return {
            state.value: _sum(row.wh for row in self.energy_rows if row.state == state)
            for state in EnergyState
        }

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON, without the rejections. Sums may be larger than 64 bits."""
        return {
            "source": self.source,
            "dryRun": self.is_dry,
            "kinds": {kind: vars(count) for kind, count in self.kinds.items()},
            "energy": vars(self.energy),
            "energyByState": {
                state: vars(count) for state, count in self.energy_by_state().items()
            },
            "energyByUser": [
                {
                    "userId": row.user_id,
                    "subject": row.subject,
                    "state": row.state,
                    **vars(row.wh),
                }
                for row in self.energy_rows
            ],
            "batches": self.batches,
            "notes": self.notes,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Report":
        """Return the report that `as_json` wrote; PostgreSQL doesn't keep the order of names."""
        return cls(
            source=document["source"],
            is_dry=document["dryRun"],
            kinds={kind.value: Count(**document["kinds"][kind]) for kind in Kind},
            energy=Count(**document["energy"]),
            energy_rows=[
                EnergyRow(
                    row["userId"],
                    row["subject"],
                    row["state"],
                    Count(row["source"], row["adopted"], row["rejected"]),
                )
                for row in document["energyByUser"]
            ],
            batches=dict(sorted(document["batches"].items())),
            notes=dict(sorted(document["notes"].items())),
        )


def _sum(counts: Iterable[Count]) -> Count:
    found = list(counts)
    return Count(
        sum(each.source for each in found),
        sum(each.adopted for each in found),
        sum(each.rejected for each in found),
    )


def check_balance(report: Report) -> None:
    """Check source = adopted + rejected, in rows of each kind and in Wh by user and state.

    :raises CannotAdopt: naming everything that doesn't add up.
    """
    counts = {
        **report.kinds,
        "Wh": report.energy,
        "Wh by user and state": _sum(row.wh for row in report.energy_rows),
        **{f"Wh of user {row.user_id}, {row.state}": row.wh for row in report.energy_rows},
    }
    wrong = [
        f"{name} {count.source} ≠ {count.adopted} + {count.rejected}"
        for name, count in counts.items()
        if not count.adds_up
    ]
    if report.energy.source != counts["Wh by user and state"].source:
        wrong.append("the users' Wh differ from all GGOs' Wh")
    if wrong:
        raise CannotAdopt(f"source ≠ adopted + rejected: {'; '.join(wrong[:10])}")
