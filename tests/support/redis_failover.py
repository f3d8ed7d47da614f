"""A failover of Redis while users trade, on a running system whose secrets come from files."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import requests

from devstack.stack import CLIENT_SECRET, WEBHOOK_SECRET
from devstack.valkey import EmbeddedSentinel, EmbeddedValkey
from tests.support.live_system import LiveSystem
from tests.support.waiting import eventually

MASTER_NAME = "accounts"


def secrets_of_a_system(
    uri: str, primary: EmbeddedValkey, sentinel: EmbeddedSentinel
) -> dict[str, str]:
    """Return the secret variables of a system on this database and Redis."""
    return {
        "SECRET": secrets.token_urlsafe(32),
        "DATABASE_URI": uri,
        "HYDRA_CLIENT_SECRET": CLIENT_SECRET,
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
        "REDIS_PASSWORD": primary.password,
        "REDIS_SENTINEL_PASSWORD": sentinel.password,
    }


def secrets_in_files(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return variables that take these secrets from new files, and leave the plain ones empty."""
    variables = {}
    for name, value in given.items():
        path = folder / name
        path.write_text(f"{value}\n")
        path.chmod(0o400)
        variables |= {name: "", f"{name}_FILE": str(path)}
    return variables


def sentinel_environment(sentinels: Sequence[EmbeddedSentinel]) -> dict[str, str]:
    """Return the variables for these Sentinels, without passwords."""
    return {
        "REDIS_HOST": "",
        "REDIS_PORT": "",
        "REDIS_SENTINELS": ",".join(f"{each.host}:{each.port}" for each in sentinels),
        "REDIS_SENTINEL_MASTER": MASTER_NAME,
        "REDIS_SENTINEL_USERNAME": sentinels[0].username,
    }


def redis_is_up(system: LiveSystem) -> bool:
    """Return whether the web says that Redis can be used."""
    return bool(
        requests.get(f"{system.stack.url}/health/ready", timeout=30).json()["redis"] == "up"
    )


def check_failover(system: LiveSystem, kill_the_primary: Callable[[], None]) -> None:
    """Compose before, while and after the primary is dead; AssertionError if anything is lost."""
    anna, bo = system.households("anna", "bo")
    before, meanwhile, after = (system.issue(anna, number, 100) for number in range(3))
    pids = [process.pid for process in system.processes]
    eventually(lambda: redis_is_up(system), "the web uses the primary")
    assert anna.compose(before, transfers=[(30, bo)]).status_code == 200
    system.settle_and_audit()
    kill_the_primary()
    assert anna.compose(meanwhile, transfers=[(30, bo)]).status_code == 200
    eventually(lambda: redis_is_up(system), "the web uses the new primary")
    assert anna.compose(after, transfers=[(30, bo)]).status_code == 200
    system.settle_and_audit()
    assert [ggo["amount"] for ggo in bo.stored()] == [30] * 3
    assert [process.pid for process in system.processes] == pids


def check_logs(system: LiveSystem, hidden: Sequence[str]) -> None:
    """Check that no process has logged a traceback or one of these secrets."""
    for process in system.processes:
        output = process.output()
        assert "Traceback" not in output, output[max(0, output.index("Traceback") - 1500) :][:6000]
        assert not [each for each in hidden if each in output]
