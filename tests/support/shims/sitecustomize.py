"""Changes this process for tests: its wall clock, and which bulk orders are large.

Python imports a module of this name at its start, so it suffices to put the folder on PYTHONPATH;
child processes inherit it.

CLOCK_SKEW_S: seconds by which the wall clock of Python code is shifted. `time.monotonic` stays right, as on
a machine with a wrong clock. All functions for the wall clock are replaced before other imports. The
classes stay the same objects, so comparisons and serialisation still work.

MOST_IN_REQUEST: bulk orders with more candidates than this are left to workers.
"""

import ctypes
import gc
import os
import time
from datetime import date, datetime, timedelta

SKEW_SECONDS = float(os.environ.get("CLOCK_SKEW_S") or 0)


def _replace(kind, **functions):
    """Replace class methods of a class written in C, whose attributes can't be assigned to."""
    [namespace] = gc.get_referents(kind.__dict__)
    for name, function in functions.items():
        namespace[name] = classmethod(function)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _shift(seconds):
    real_time, real_time_ns = time.time, time.time_ns
    real_now, real_utcnow = datetime.now, datetime.utcnow
    by = timedelta(seconds=seconds)
    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_time_ns() + int(seconds * 1e9)
    for name in ("gmtime", "localtime", "ctime"):
        real = getattr(time, name)
        setattr(
            time,
            name,
            lambda at=None, real=real: real(time.time() if at is None else at),
        )
    _replace(
        datetime,
        now=lambda _, tz=None: real_now(tz) + by,
        utcnow=lambda _: real_utcnow() + by,
        today=lambda _: real_now() + by,
    )
    _replace(date, today=lambda _: (real_now() + by).date())


if SKEW_SECONDS:
    _shift(SKEW_SECONDS)

if "MOST_IN_REQUEST" in os.environ:
    from origin.bulk.rules import limits

    limits.MAX_CANDIDATES_IN_REQUEST = int(os.environ["MOST_IN_REQUEST"])
