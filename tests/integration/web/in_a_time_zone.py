"""Prints what the service makes of times, as JSON: `python -m … DATABASE_URI HYDRA DATAHUB NAME`."""

import sys
import time
from datetime import datetime
from typing import Any

import orjson

from origin.shared.clock import utcnow
from tests.support.world import Peer, World

# Hours that Copenhagen's clocks skip or show twice, and one in between.
NAIVE = ["2020-03-29T02:30:00", "2020-10-25T02:30:00", "2020-06-30 23:00:00"]
FIELDS = ("begin", "end", "amount")


def answers(world: World, name: str) -> dict[str, Any]:
    """Return everything that depends on times and does not differ between two users."""
    for subject in (name, f"{name}-too"):
        world.new_user(subject)
    world.point(name, name)
    for number, begin in enumerate(NAIVE):
        end = f"{begin[:14]}59:00"
        world.ggo(name, name, address=f"{name}{number}", begin=begin, end=end, amount=number + 1)
    token, other = world.token(name), world.token(f"{name}-too")
    ranges = [
        {"begin": NAIVE[0], "end": NAIVE[0]},
        {"begin": "2020-10-25T04:30:00+02:00", "end": "2020-10-25T04:30:00+02:00"},
    ]
    days = {"begin": "2020-03-29", "end": "2020-03-29"}
    supply = {"dateRange": days, "minAmount": 1, "minCoverage": 1}
    found = world.post("/accounts/find-suppliers", supply, other).json["suppliers"]
    user_id = world.value("SELECT id FROM users WHERE subject = :name", name=name)
    world.runtime.user_tokens.refresh_now(user_id)
    expires_at = world.value("SELECT token_expires_at FROM users WHERE subject = :name", name=name)
    return {
        "listed": [{field: ggo[field] for field in FIELDS} for ggo in world.listed(name)],
        "sums": [
            world.post("/ggo/get-total-amount", {"filters": {"beginRange": each}}, token).json
            for each in ranges
        ],
        "is a supplier": name in found,
        "hours to live": round((expires_at - utcnow()).total_seconds() / 3600, 1),
        "is cached": _introspections(world, token),
        "still waiting": world.value("SELECT count(*) FROM login_states WHERE expires_at < now()"),
    }


def _introspections(world: World, token: str) -> int:
    """Return how often two requests call Hydra: a token's expiry is in UTC, too."""
    before = world.hydra.call_count("/oauth2/introspect")
    for _ in range(2):
        world.post("/accounts", token=token)
    return world.hydra.call_count("/oauth2/introspect") - before


def main() -> None:
    """Print `answers`, and the time zone of this process."""
    database_uri, hydra, datahub, name = sys.argv[1:]
    world = World(database_uri, Peer(hydra), Peer(datahub), log_level="ERROR")
    local = datetime.fromtimestamp(0).hour  # noqa: DTZ006 - shows that TZ is in effect
    answer = {"zone": time.tzname[0], "local": local, **answers(world, name)}
    world.runtime.database.dispose()
    sys.stdout.write(orjson.dumps(answer).decode())


if __name__ == "__main__":
    main()
