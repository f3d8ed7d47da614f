"""What a recovery has found and done, for operators and for programs."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LISTED = 10_000
"""So many of each kind are listed; all are counted."""

Tell = Callable[[str, int, int], None]
"""Called with what is being done, how many of it are done, and how many there are in all."""


@dataclass
class Report:
    """What was found and, unless it is a dry run, done.

    :ivar points: Metering points that were forgotten: subject, gsrn, key_index, proof.
    :ivar not_asked: Users for whom DataHub couldn't be asked, or whose keys can't be opened.
    :ivar unmatched: GGOs on the ledger that are nobody's here, or of a lost key: address, wh, source.
    :ivar differing: What differs and wasn't mended: address, what.
    """

    is_dry: bool
    complete: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    points: list[dict[str, Any]] = field(default_factory=list)
    not_asked: list[dict[str, Any]] = field(default_factory=list)
    unmatched: list[dict[str, Any]] = field(default_factory=list)
    differing: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, **entry: Any) -> None:
        """Count one of this kind, and list it while there is room."""
        self.counts[kind] += 1
        listed: list[dict[str, Any]] = getattr(self, kind)
        if len(listed) < LISTED:
            listed.append(entry)

    @property
    def differs(self) -> bool:
        """Whether something is not as it should be: of a dry run, also what it would mend."""
        wrong = ["not_asked", "unmatched", "differing"]
        if self.is_dry:
            wrong += ["points", "issued", "mended", "completed"]
        return any(self.counts[kind] for kind in wrong)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "dry_run": self.is_dry,
            "complete": self.complete,
            "counts": dict(sorted(self.counts.items())),
            "points": self.points,
            "not_asked": self.not_asked,
            "unmatched": self.unmatched,
            "differing": self.differing,
        }
