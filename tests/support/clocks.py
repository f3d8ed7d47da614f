"""Shifts the wall clock of processes; the clocks of PostgreSQL and of the tests stay right."""

from collections.abc import Mapping
from pathlib import Path

_SHIM = Path(__file__).with_name("skewed")


def skewed(env: Mapping[str, str], seconds: float) -> dict[str, str]:
    """Return an environment that shifts a process's wall clock ahead (negative: behind)."""
    changed = {name: value for name, value in env.items() if name != "CLOCK_SKEW_S"}
    if not seconds:
        return changed
    rest = [path for path in env.get("PYTHONPATH", "").split(":") if path and path != str(_SHIM)]
    return {**changed, "CLOCK_SKEW_S": str(seconds), "PYTHONPATH": ":".join([str(_SHIM), *rest])}
