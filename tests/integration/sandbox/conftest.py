"""One running sandbox for all of these tests, reset before each."""

import pytest

from sandbox import Sandbox

CALLBACK = "http://127.0.0.1:9/auth/login/callback"


@pytest.fixture(scope="session")
def running():
    with Sandbox(redirect_uris=[CALLBACK], webhook_secret="hook-secret", block_time=0.05) as one:
        yield one


@pytest.fixture
def sandbox(running):
    running.reset()
    return running
