"""Fixtures of the tests about Redis."""

import pytest


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that connects to Redis wait as long as a busy machine may need."""
    for name in (
        "origin.identity.service.rate_limits._TIMEOUT_S",
        "origin.monitoring.service.probes.PROBE_TIMEOUT_S",
        "origin.tasks.sending._TIMEOUT_S",
    ):
        monkeypatch.setattr(name, 20.0)
