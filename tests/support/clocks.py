"""Environments of processes whose clock is wrong, or that find few GGOs many (`tests/support/shims`)."""

from collections.abc import Mapping
from pathlib import Path

from devstack.processes import ROOT

_SHIM = Path(__file__).with_name("shims")

FEW_IN_A_REQUEST = {"MOST_IN_REQUEST": "3", "PYTHONPATH": f"{_SHIM}:{ROOT / 'src'}"}
"""Changes to an environment: workers plan bulk orders of more than three candidates."""


def skewed(env: Mapping[str, str], seconds: float) -> dict[str, str]:
    """Return an environment that shifts a process's wall clock ahead (negative: behind)."""
    changed = {name: value for name, value in env.items() if name != "CLOCK_SKEW_S"}
    if not seconds:
        return changed
    rest = [path for path in env.get("PYTHONPATH", "").split(":") if path and path != str(_SHIM)]
    return {**changed, "CLOCK_SKEW_S": str(seconds), "PYTHONPATH": ":".join([str(_SHIM), *rest])}
