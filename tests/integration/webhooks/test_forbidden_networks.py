"""WEBHOOK_FORBIDDEN_NETWORKS reaches the public-address guard."""

from collections.abc import Callable

import pytest

from tests.support.world import World


@pytest.mark.parametrize(("host", "status"), [("127.0.0.7", 400), ("127.0.1.7", 200)])
def test_an_address_in_a_forbidden_network_is_rejected(
    new_world: Callable[..., World], host: str, status: int
) -> None:
    world = new_world(webhook_allow_private=True, webhook_forbidden_networks="127.0.0.0/24")
    world.new_user("alice")
    body = {"url": f"http://{host}/hook", "secret": "a secret"}
    answer = world.post("/webhook/on-ggo-received/subscribe", body, world.token("alice"))
    assert answer.status_code == status
    assert status == 200 or list(answer.json["message"]) == ["url"]
