"""What tests of balances share."""

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.market import Market

Ask = Callable[..., TestResponse]


@pytest.fixture
def ask(market: Market) -> Ask:
    """GET a path as a user."""

    def get(path: str, subject: str = "alice", **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        token = {"Authorization": f"Bearer {market.tokens[subject]}"}
        return market.client().get(path, headers={**token, **named})

    return get


@pytest.fixture
def told(ask: Ask) -> Callable[..., Any]:
    """GET a path as a user; return the JSON of a 200."""

    def get(path: str, subject: str = "alice", **headers: str) -> Any:
        answer = ask(path, subject, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    return get
