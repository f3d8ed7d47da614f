"""What a recovery has found and done, for operators and for programs."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LISTED = 10_000
"""So many entries of each kind are listed; all are counted."""

ShowProgress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are in all."""


@dataclass
class Report:
    """What was found and, unless it is a dry run, done. Programs read the names, as JSON.

    :ivar counts: Of these kinds, and of others (`origin.cli.recovery` lists them).
    :ivar points: Metering points that the database had lost: subject, gsrn, key_index, proof.
    :ivar not_asked: Users for whom DataHub couldn't be asked, or whose keys can't be unsealed:
        subject, reason.
    :ivar unmatched: GGOs on the ledger that are no user's, or of a lost key: address, wh, source.
    :ivar differing: What differs and was not repaired: address, what.
    """

    is_dry: bool
    complete: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    points: list[dict[str, Any]] = field(default_factory=list)
    not_asked: list[dict[str, Any]] = field(default_factory=list)
    unmatched: list[dict[str, Any]] = field(default_factory=list)
    differing: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, **entry: Any) -> None:
        """Count an entry of this kind, and list it if there is room."""
        self.counts[kind] += 1
        listed: list[dict[str, Any]] = getattr(self, kind)
        if len(listed) < LISTED:
            listed.append(entry)

    @property
    def differs(self) -> bool:
        """Whether something is not in step; of a dry run, also what it would restore."""
        wrong = ["not_asked", "unmatched", "differing"]
        if self.is_dry:
            wrong += ["points", "issued", "mended", "completed"]
        return any(self.counts[kind] for kind in wrong)

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "dry_run": self.is_dry,
            "complete": self.complete,
            "counts": dict(sorted(self.counts.items())),
            "points": self.points,
            "not_asked": self.not_asked,
            "unmatched": self.unmatched,
            "differing": self.differing,
        }
