"""What was lost with a database that went back in time, and can't be known any more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any


@dataclass
class LostData:
    """What the auditor must be told of all databases that were lost so far.

    - `going_on`: set while the database is behind the ledger and not recovered.
    - `count`: how often that happened.
    - `recovered`: addresses of GGOs that a recovery has added or changed. No batch, reference or
      webhook of those need be there.
    - `owners`: who owned what, by address, as the lost databases had it last.
    """

    going_on: Event = field(default_factory=Event)
    count: int = 0
    recovered: set[str] = field(default_factory=set)
    owners: dict[str, int] = field(default_factory=dict)

    def wrong_owners(self, ggos: Iterable[Mapping[str, Any]]) -> list[str]:
        """Complaints about GGOs (address, owner_id) that came back as another's than they were."""
        return [
            f"{ggo['address']} was user {self.owners[ggo['address']]}'s, is user {ggo['owner_id']}'s"
            for ggo in ggos
            if self.owners.get(ggo["address"], ggo["owner_id"]) != ggo["owner_id"]
        ]
