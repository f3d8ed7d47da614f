"""The doctor's checks of Redis and of the peers find what is wrong with real servers."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from devstack.ports import free_port
from devstack.valkey import EmbeddedSentinel, EmbeddedValkey
from origin.doctor.rules import Level
from sandbox.running import Sandbox
from tests.integration.doctor.conftest import NewRuntime, findings, only
from tests.support.certificates import Authority
from tests.support.scripted_peer import ScriptedPeer, http_answer
from tests.support.tls_front import tls_front

PEERS = {
    "hydra": "hydra_url",
    "hydra introspection": "hydra_introspect_url",
    "datahub": "datahub_service_url",
    "energy types": "energy_type_service_url",
    "ledger": "ledger_url",
}


@contextmanager
def configured(server: EmbeddedValkey, *command: str) -> Iterator[None]:
    """Execute a command of Redis, and afterwards undo all that these tests do."""
    with server.client() as client:
        client.execute_command(*command)
        try:
            yield
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")


def test_a_good_redis_is_well_and_keeps_nothing(
    new_runtime: NewRuntime, redis_server: EmbeddedValkey
):
    found = findings(new_runtime(), "redis", "redis memory")
    assert [each.level for each in found.values()] == [Level.OK, Level.OK], found
    with redis_server.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), "it is a replica"),
        (("CONFIG", "SET", "maxmemory", "1"), "its memory is full"),
    ],
    ids=["replica", "full"],
)
def test_a_redis_that_takes_no_writes_fails(
    new_runtime: NewRuntime, redis_server: EmbeddedValkey, command: tuple[str, ...], said: str
):
    with configured(redis_server, *command):
        found = only(new_runtime(), "redis")
    assert found.level is Level.FAIL
    assert said in found.text


def test_a_redis_that_may_drop_wake_ups_is_warned_of(
    new_runtime: NewRuntime, redis_server: EmbeddedValkey
):
    limit = ("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    with configured(redis_server, *limit):
        found = only(new_runtime(), "redis memory")
    assert found.level is Level.WARN
    assert "allkeys-lru" in found.text


def test_a_redis_that_does_not_tell_its_state_is_no_failure(
    new_runtime: NewRuntime, redis_server: EmbeddedValkey
):
    """As the users of managed servers, which may not execute INFO; the service doesn't need it."""
    user, password = "without_info", "a password of this test"
    with redis_server.client() as client:
        client.acl_setuser(
            user,
            enabled=True,
            passwords=[f"+{password}"],
            keys=["*"],
            categories=["+@all", "-@dangerous"],
        )
    runtime = new_runtime(redis_username=user, redis_password=password)
    found = findings(runtime, "redis", "redis memory")
    assert found["redis"].level is Level.OK
    assert found["redis memory"].level is Level.WARN
    assert "may not execute INFO" in found["redis memory"].text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"redis_password": "not-this-one"}, "it refuses the user"),
        ({"redis_cache_db": 9999}, "REDIS_CACHE_DB 9999 can't be written"),
    ],
)
def test_wrong_settings_of_redis_are_told(
    new_runtime: NewRuntime, changes: dict[str, Any], said: str
):
    found = only(new_runtime(**changes), "redis")
    assert found.level is Level.FAIL
    assert said in found.text
    assert "not-this-one" not in found.text


def test_without_redis_all_else_is_still_told(new_runtime: NewRuntime):
    found = findings(new_runtime(redis_port=free_port()), "redis", "redis memory", "schema")
    assert found["redis"].level is found["redis memory"].level is Level.FAIL
    assert "it can't be reached" in found["redis"].text
    assert found["schema"].level is Level.OK


def test_the_certificate_of_redis_is_looked_at(
    new_runtime: NewRuntime, redis_server: EmbeddedValkey, tmp_path: Path
):
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    long_valid = authority.issue_together("long", ends_in=timedelta(days=99))
    with tls_front(redis_server.port, long_valid, is_postgres=False) as port:
        tls = {"redis_port": port, "redis_tls": 1, "redis_tls_ca_file": authority.path}
        found = only(new_runtime(**tls), "redis certificate")
        assert found.level is Level.OK
        assert "valid for 98 days" in found.text
        of_stranger = new_runtime(**{**tls, "redis_tls_ca_file": stranger.path})
        found = only(of_stranger, "redis certificate")
        assert found.level is Level.FAIL
        assert "isn't accepted" in found.text


def test_sentinels_that_answer_are_counted(new_runtime: NewRuntime, redis_server: EmbeddedValkey):
    away = f"127.0.0.1:{free_port()}"
    with EmbeddedSentinel("accounts", redis_server) as sentinel:
        there = f"{sentinel.host}:{sentinel.port}"
        named = {"redis_host": "", "redis_port": "", "redis_sentinel_master": "accounts"}
        named |= {
            "redis_sentinel_username": sentinel.username,
            "redis_sentinel_password": sentinel.password,
        }
        some = only(new_runtime(**named, redis_sentinels=f"{away},{there}"), "redis sentinels")
        none = findings(new_runtime(**named, redis_sentinels=away), "redis", "redis sentinels")
    assert some.level is Level.WARN
    assert "1 of 2 Sentinels answer" in some.text
    assert none["redis sentinels"].level is none["redis"].level is Level.FAIL
    assert "Check REDIS_SENTINELS" in none["redis"].text


def test_good_peers_are_well(new_runtime: NewRuntime):
    found = findings(new_runtime(), *PEERS, "ledger state")
    assert {each.level for each in found.values()} == {Level.OK}, found
    assert {f"{name} clock" for name in PEERS} <= set(found)
    assert found["ledger state"].text == "Not checked: no GGO has been issued yet."


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_away_fails(new_runtime: NewRuntime, name: str):
    url = f"http://login:hidden@127.0.0.1:{free_port()}/path"
    found = only(new_runtime(**{PEERS[name]: url}), name)
    assert found.level is Level.FAIL
    assert "Nothing listens there" in found.text
    assert f"Check {PEERS[name].upper()} (http://127.0.0.1:" in found.text
    assert "hidden" not in found.text


def test_a_peer_that_never_answers_fails(new_runtime: NewRuntime, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("origin.doctor.client._READ_TIMEOUT_S", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = only(new_runtime(ledger_url=url), "ledger")
    assert found.level is Level.FAIL
    assert "It doesn't answer in time." in found.text


def test_a_name_without_an_address_fails(new_runtime: NewRuntime):
    found = only(new_runtime(ledger_url="http://no-such-host.invalid"), "ledger")
    assert found.level is Level.FAIL
    # Some resolvers take longer than the check.
    assert "can't be reached" in found.text or "no result" in found.text


def answering(peer: ScriptedPeer, *answers: bytes) -> None:
    """Let a peer give these answers, one after the other."""

    def saying(answer: bytes) -> Callable[[Any], None]:
        return lambda connection: connection.sendall(answer)

    peer.scripts = [saying(each) for each in answers]


@pytest.fixture
def peer() -> Iterator[ScriptedPeer]:
    made = ScriptedPeer()
    yield made
    made.close()


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_answers_500_fails(new_runtime: NewRuntime, peer: ScriptedPeer, name: str):
    answering(peer, *[http_answer(b"oops", "500 Internal Server Error")] * 9)
    found = findings(new_runtime(**{PEERS[name]: f"http://{peer.address}"}), name)[name]
    assert found.level is Level.FAIL
    assert "It answers, but not as it should" in found.text


@pytest.mark.parametrize(
    ("behind_s", "level"), [(60, Level.FAIL), (-60, Level.FAIL), (12, Level.WARN)]
)
def test_a_peer_with_another_clock_is_told(
    new_runtime: NewRuntime, peer: ScriptedPeer, behind_s: int, level: Level
):
    def answer(connection: Any) -> None:
        date = format_datetime(datetime.now(UTC) - timedelta(seconds=behind_s), usegmt=True)
        connection.sendall(
            http_answer(b'{"success": true, "technologies": []}', "200 OK", f"Date: {date}")
        )

    peer.scripts = [answer] * 2
    url = f"http://{peer.address}"
    found = findings(new_runtime(datahub_service_url=url), "datahub")
    assert found["datahub"].level is Level.OK
    assert found["datahub clock"].level is level
    assert ("ahead of" if behind_s > 0 else "behind") in found["datahub clock"].text


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The authority that the environment trusts."""
    made = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.path))
    return made


OTHER_HOST = [x509.DNSName("elsewhere.example")]


@pytest.mark.parametrize(
    ("certificate", "level", "said"),
    [
        ({"ends_in": timedelta(days=99)}, Level.OK, "valid for 98 days"),
        ({"ends_in": timedelta(days=3)}, Level.WARN, "Have it renewed"),
        ({"ends_in": timedelta(days=-1)}, Level.FAIL, "certificate has expired"),
        ({"hosts": OTHER_HOST}, Level.FAIL, "not valid for '127.0.0.1'"),
    ],
    ids=["good", "short", "expired", "another host"],
)
def test_the_certificate_of_a_peer_is_looked_at(
    new_runtime: NewRuntime,
    sandbox: Sandbox,
    authority: Authority,
    certificate: dict[str, Any],
    level: Level,
    said: str,
):
    port = urlsplit(sandbox.urls["datahub"]).port
    assert port is not None
    both = authority.issue_together("datahub", **certificate)
    with tls_front(port, both, is_postgres=False) as front:
        url = f"https://127.0.0.1:{front}"
        found = findings(new_runtime(datahub_service_url=url), "datahub")
    told = found["datahub"] if level is Level.FAIL else found["datahub certificate"]
    assert told.level is level
    assert said in told.text


@pytest.mark.usefixtures("authority")
def test_a_certificate_of_an_unknown_authority_fails(
    new_runtime: NewRuntime, tmp_path: Path, peer: ScriptedPeer
):
    port = int(peer.address.rpartition(":")[2])
    both = Authority(tmp_path, "stranger").issue_together("datahub")
    with tls_front(port, both, is_postgres=False) as front:
        found = only(new_runtime(datahub_service_url=f"https://127.0.0.1:{front}"), "datahub")
    assert found.level is Level.FAIL
    assert "unable to get local issuer certificate" in found.text


def test_a_server_without_tls_at_an_https_address_fails(new_runtime: NewRuntime, sandbox: Sandbox):
    url = sandbox.urls["datahub"].replace("http:", "https:")
    found = only(new_runtime(datahub_service_url=url), "datahub")
    assert found.level is Level.FAIL
    assert "can't be reached" in found.text


def test_wrong_credentials_at_hydra_are_told(new_runtime: NewRuntime):
    found = findings(new_runtime(hydra_client_secret="not-this-one"), "hydra")["hydra"]
    assert found.level is Level.FAIL
    assert "HYDRA_CLIENT_SECRET" in found.text
    assert "not-this-one" not in found.text
