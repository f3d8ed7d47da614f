"""GGO expiry (contract: domain.md, GGO). `origin.ggos.queries.expiry` has the same rule in SQL."""

from datetime import datetime


def is_expired(expire_time: datetime, now: datetime) -> bool:
    """Return whether a GGO can no longer be transferred or retired: true from `expire_time` on."""
    return now >= expire_time
