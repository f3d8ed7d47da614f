"""Sets a Python process's clock ahead, or behind, by CLOCK_SKEW_S seconds: have this folder on PYTHONPATH.

Python imports this module by itself at its start. Only the wall clock changes, as it does where
a machine's was set wrongly: intervals (`time.monotonic`, sleeping) stay what they are.
"""

import datetime as dt
import os
import time
from typing import Any

_skew_s = float(os.environ.get("CLOCK_SKEW_S") or 0)
_true_time, _true_time_ns, _true = time.time, time.time_ns, dt.datetime


class _Kind(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _true)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, _true)


class _Datetime(_true, metaclass=_Kind):
    """The real one, but for the present; whatever it makes is a real one."""

    def __new__(cls, *args: Any, **named: Any) -> Any:
        return _true.__new__(_true, *args, **named)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return _true.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return _true.fromtimestamp(time.time(), dt.UTC).replace(tzinfo=None)


if _skew_s:
    time.time = lambda: _true_time() + _skew_s
    time.time_ns = lambda: _true_time_ns() + int(_skew_s * 1e9)
    dt.datetime = _Datetime  # type: ignore[misc]
