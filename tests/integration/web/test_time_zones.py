"""The time zone of the server's process (TZ) changes no answer, also for times without an offset."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.support.world import World


def answers_under(zone: str, world: World) -> dict[str, Any]:
    """Return what `in_a_time_zone` prints in a process with this TZ."""
    uri = world.settings.database_uri.get_secret_value()
    name = zone.lower().replace("/", "-")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.integration.web.in_a_time_zone"),
            *(uri, world.hydra.url, world.datahub.url, name),
        ],
        env={**os.environ, "TZ": zone, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_servers_time_zone_changes_nothing(world: World) -> None:
    here, there = answers_under("UTC", world), answers_under("Europe/Copenhagen", world)
    assert (here.pop("zone"), here.pop("local")) == ("UTC", 0)
    assert (there.pop("zone"), there.pop("local")) == ("CET", 1)
    assert there == here
    begins = [ggo["begin"] for ggo in there["listed"]]
    assert begins == [
        "2020-03-29T02:30:00+00:00",
        "2020-06-30T23:00:00+00:00",
        "2020-10-25T02:30:00+00:00",
    ]
    assert [answer["amount"] for answer in there["sums"]] == [1, 2]
    assert there["is a supplier"]
    assert there["hours to live"] == 1.0
    assert there["is cached"] <= 1
    assert there["still waiting"] == 0
