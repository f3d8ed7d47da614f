"""The shifted clock of the fault tests affects all functions for the wall clock, and no others."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.support.clocks import skewed

_LOOK = """
import json, time
from datetime import UTC, date, datetime
from email.utils import localtime
import celery.utils.time, kombu.utils.json, orjson
naive = datetime(1970, 1, 1)
assert type(datetime.now(UTC)) is datetime and datetime.now(UTC).tzinfo is UTC
assert orjson.dumps(datetime.now(UTC)) and kombu.utils.json.dumps({"at": datetime.now(UTC)})
print(json.dumps({
    "time": time.time(),
    "time_ns": time.time_ns() / 1e9,
    "now": datetime.now(UTC).timestamp(),
    "now of a keyword": datetime.now(tz=UTC).timestamp(),
    "local now": datetime.now().timestamp(),
    "utcnow": (datetime.utcnow() - naive).total_seconds(),
    "today": datetime.today().timestamp(),
    "gmtime": (datetime(*time.gmtime()[:6]) - naive).total_seconds(),
    "localtime": time.mktime(time.localtime()),
    "mail": localtime().timestamp(),
    "date": date.today() == datetime.now().date(),
    "monotonic": time.monotonic(),
    "of a number": time.gmtime(0)[0],
    "from a number": datetime.fromtimestamp(0, UTC).isoformat(),
}))
"""
_OTHER = {"date": True, "of a number": 1970, "from a number": "1970-01-01T00:00:00+00:00"}


@pytest.mark.parametrize("seconds", [-75, 0, 75])
def test_a_process_has_another_time(seconds):
    env = skewed({"PATH": os.environ["PATH"]}, seconds)
    command = [sys.executable, "-c", _LOOK]
    # A grandchild, as the service's processes are.
    command = [
        sys.executable,
        "-c",
        f"import subprocess; subprocess.run({command!r}, check=True)",
    ]
    before = time.time(), time.monotonic()
    seen = json.loads(subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True).stdout)
    after = time.time(), time.monotonic()
    assert {name: seen.pop(name) for name in _OTHER} == _OTHER
    assert before[1] <= seen.pop("monotonic") <= after[1]
    for name, at in seen.items():
        # Some functions return whole seconds.
        assert before[0] + seconds - 1 <= at <= after[0] + seconds, name
