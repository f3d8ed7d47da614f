"""Records what was lost when a database went back in time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any


@dataclass
class LostData:
    """What the auditor must know of all losses so far.

    - `going_on`: set while the database is behind the ledger and not recovered.
    - `count`: the number of losses.
    - `recovered`: addresses of GGOs that a recovery has added or changed. Their batches, references
      and webhooks may be missing.
    - `owners`: owner ids by address, as the lost databases had them last.
    """

    going_on: Event = field(default_factory=Event)
    count: int = 0
    recovered: set[str] = field(default_factory=set)
    owners: dict[str, int] = field(default_factory=dict)

    def wrong_owners(self, ggos: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return complaints about GGOs (address, owner_id) that were recovered for another owner."""
        return [
            f"{ggo['address']} was user {self.owners[ggo['address']]}'s, is user {ggo['owner_id']}'s"
            for ggo in ggos
            if self.owners.get(ggo["address"], ggo["owner_id"]) != ggo["owner_id"]
        ]
