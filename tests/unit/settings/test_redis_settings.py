"""The settings of Redis: addresses, TLS, Sentinels, and how libraries get them."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from redis.connection import SSLConnection
from redis.sentinel import SentinelManagedSSLConnection

from origin.errors import ConfigurationError
from origin.redis_servers import _Sentinels, celery_options, failure_reason, redis_client
from origin.settings import Settings
from tests.support.certificates import Authority
from tests.support.example_settings import example_settings


def _settings(**changes: Any) -> Settings:
    none = {"redis_username": "", "redis_password": "", "redis_host": "redis", "redis_port": "6379"}
    return example_settings(**{**none, **changes})


def _wrong(**changes: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        _settings(**changes)
    return str(raised.value).partition(": ")[2].split("; ")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(
    ("host", "port", "address", "is_tls"),
    [
        ("redis", "6379", ("redis", 6379), False),
        (" 10.0.0.1 ", "1", ("10.0.0.1", 1), False),
        ("::1", "6379", ("::1", 6379), False),
        ("[::1]", "6379", ("::1", 6379), False),
        ("redis://cache", "6379", ("cache", 6379), False),
        ("rediss://cache", "6379", ("cache", 6379), True),
        ("rediss://cache:6380", "", ("cache", 6380), True),
        ("REDISS://cache:6380/", "6380", ("cache", 6380), True),
        ("rediss://[2001:db8::1]:6380", "", ("2001:db8::1", 6380), True),
    ],
)
def test_a_host_may_be_a_url(host: str, port: str, address: tuple[str, int], is_tls: bool):
    settings = _settings(redis_host=host, redis_port=port)
    assert (settings.redis_address, settings.redis_tls) == (address, is_tls)
    again = Settings.of(vars(settings))
    assert (again.redis_address, again.redis_tls) == (address, is_tls)


@pytest.mark.parametrize(
    "host",
    [
        "rediss://me:s3cr3t@cache",
        "rediss://:s3cr3t@cache:6380",
        "rediss://cache:6380/0",
        "rediss://cache?ssl_cert_reqs=none",
        "rediss://",
        "rediss://cache:0",
        "rediss://cache:65536",
        "http://cache",
        "cache:6379",
        "cache/0",
        "me:s3cr3t@cache",
        "a b",
        "[cache",
    ],
)
def test_a_host_or_a_url_has_nothing_but_host_and_port(host: str):
    [message] = _wrong(redis_host=host)
    assert message.startswith("REDIS_HOST: not a host, nor rediss://host:port")
    assert "s3cr3t" not in message


def test_the_urls_port_and_redis_port_must_agree():
    assert _wrong(redis_host="rediss://cache:6380", redis_port="6379") == [
        "REDIS_PORT: REDIS_HOST names another port"
    ]


def test_a_host_and_a_port_are_required_without_sentinels():
    assert _wrong(redis_host="", redis_port="") == [
        f"{name}: Field required, unless REDIS_SENTINELS is set"
        for name in ("REDIS_HOST", "REDIS_PORT")
    ]
    assert _wrong(redis_host=" ") == ["REDIS_HOST: blank"]


def test_sentinels_are_hosts_and_ports():
    settings = _settings(
        redis_sentinels="a.example:26379, [::1]:1 ,10.0.0.1:65535",
        redis_sentinel_master="accounts",
        redis_host="",
        redis_port="",
    )
    assert settings.redis_sentinel_addresses == [
        ("a.example", 26379),
        ("::1", 1),
        ("10.0.0.1", 65535),
    ]


@pytest.mark.parametrize("wrong", ["a", "a:", ":1", "a:0", "a:65536", "::1:1", "a:1/0", "a b:1"])
def test_other_sentinels_are_named(wrong: str):
    assert _wrong(
        redis_sentinels=f"ok:1,{wrong}", redis_sentinel_master="x", redis_host="", redis_port=""
    ) == ["REDIS_SENTINELS: not host:port, comma-separated"]


def test_sentinels_and_their_name_for_the_primary_go_together():
    assert _wrong(redis_sentinels="a:1") == [
        "REDIS_SENTINEL_MASTER: Field required with REDIS_SENTINELS"
    ]
    assert _wrong(redis_sentinel_master="accounts") == [
        "REDIS_SENTINEL_MASTER: needs REDIS_SENTINELS"
    ]


def test_files_for_tls_must_fit(authority: Authority, tmp_path: Path):
    certificate, key = authority.issue("client")
    other_certificate, _ = authority.issue("other")
    locked = tmp_path / "locked.key"
    pair = load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))
    )
    files = {
        "redis_tls_ca_file": authority.path,
        "redis_tls_cert_file": certificate,
        "redis_tls_key_file": key,
    }
    assert _settings(redis_tls="1", **files).redis_tls_key_file == str(key)
    assert _wrong(**files) == [f"{name.upper()}: needs REDIS_TLS=1" for name in sorted(files)]
    together = "REDIS_TLS_KEY_FILE: REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE go together"
    assert _wrong(redis_tls="1", redis_tls_cert_file=certificate) == [together]
    assert _wrong(redis_tls="1", redis_tls_key_file=key) == [together]
    no_key = "REDIS_TLS_KEY_FILE: the file has no key of the certificate, in PEM and without a passphrase"
    for changes in (
        {"redis_tls_cert_file": other_certificate},
        {"redis_tls_key_file": locked},
        {"redis_tls_key_file": certificate},
    ):
        assert _wrong(redis_tls="1", **{**files, **changes}) == [no_key]
    gone = "the file can't be read (No such file or directory)"
    missing = {name: tmp_path / name for name in files}
    # Whether a key fits a certificate that can't be read is not known.
    assert _wrong(redis_tls="1", **missing) == [
        f"REDIS_TLS_CA_FILE: {gone}",
        f"REDIS_TLS_CERT_FILE: {gone}",
    ]
    assert _wrong(redis_tls="1", redis_tls_ca_file=key) == [
        "REDIS_TLS_CA_FILE: the file has no certificates in PEM"
    ]


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
def test_files_that_the_databases_uri_names_must_be_readable(name: str, tmp_path: Path):
    uri = f"postgresql://me:s3cr3t@db/x?sslmode=verify-full&{name}={tmp_path}/file"
    assert _wrong(database_uri=uri) == [
        f"DATABASE_URI: {name}: the file can't be read (No such file or directory)"
    ]
    (tmp_path / "file").touch()
    assert _settings(database_uri=uri).database_url.query[name] == f"{tmp_path}/file"
    assert _settings(database_uri="postgresql://db/x?sslrootcert=system")


@pytest.mark.parametrize("name", ["sslrotcert", "dsn", "s3cr3t"])
def test_a_parameter_that_libpq_does_not_know_is_counted(name: str):
    """Each connection would say so, and a start would end with a traceback."""
    assert _wrong(database_uri=f"postgresql://me:s3cr3t@db/x?sslmode=require&{name}=/ca") == [
        "DATABASE_URI: PostgreSQL doesn't know parameter 2 after the ?"
    ]


def _celery(**changes: Any) -> dict[str, Any]:
    return celery_options(_settings(**changes), connect_timeout_s=1, timeout_s=5)


@pytest.mark.parametrize(
    ("user", "password", "credentials"),
    [("me", "p@:/;", "me:p%40%3A%2F%3B@"), ("", "p@:/;", ":p%40%3A%2F%3B@"), ("", "", "")],
)
def test_celery_gets_user_and_password_quoted(user: str, password: str, credentials: str):
    login = {"redis_username": user, "redis_password": password}
    options = _celery(**login)
    assert options["broker_url"] == f"redis://{credentials}redis:6379/1"
    assert options["result_backend"] == f"redis://{credentials}redis:6379/2"
    sentinels = {"redis_sentinels": "a:1,[::1]:2", "redis_sentinel_master": "accounts"}
    assert _celery(**login, **sentinels)["broker_url"] == (
        f"sentinel://{credentials}a:1/1;sentinel://{credentials}[::1]:2/1"
    )


def test_tls_verifies_certificate_and_name_everywhere(authority: Authority):
    tls = {"redis_tls": "1", "redis_tls_ca_file": authority.path, "tls_verify": "0"}
    sentinels = {"redis_sentinels": "a:1", "redis_sentinel_master": "accounts"}
    options = _celery(**tls, **sentinels)
    found = [
        options["broker_use_ssl"],
        options["redis_backend_use_ssl"],
        options["broker_transport_options"]["sentinel_kwargs"],
        options["result_backend_transport_options"]["sentinel_kwargs"],
    ]
    for kind, changes in ((SSLConnection, {}), (SentinelManagedSSLConnection, sentinels)):
        pool: Any = redis_client(_settings(**tls, **changes), 3, 1).connection_pool
        assert pool.connection_class is kind
        assert pool.connection_kwargs["db"] == 3
        found.append(pool.connection_kwargs)
    sentinel = pool.sentinel_manager.sentinels[0].connection_pool
    assert sentinel.connection_class is SSLConnection
    found.append(sentinel.connection_kwargs)
    for each in found:
        assert each["ssl_cert_reqs"].name == "CERT_REQUIRED"
        assert each["ssl_check_hostname"]
        assert each["ssl_ca_certs"] == str(authority.path)
    assert "broker_use_ssl" not in _celery()


def test_the_servers_and_the_sentinels_have_their_own_passwords():
    settings = _settings(
        redis_sentinels="a:1",
        redis_sentinel_master="accounts",
        redis_username="server",
        redis_password="servers",
        redis_sentinel_username="sentinel",
        redis_sentinel_password="sentinels",
    )
    pool: Any = redis_client(settings, 0, 1).connection_pool
    found = [pool.connection_kwargs, pool.sentinel_manager.sentinel_kwargs]
    assert [(each["username"], each["password"]) for each in found] == [
        ("server", "servers"),
        ("sentinel", "sentinels"),
    ]


def test_no_sentinel_is_lost_when_two_threads_ask_at_once():
    """redis-py loses one: both threads swap the same two places of its list."""
    both_ask = threading.Barrier(2)

    class Asked:
        def __init__(self, port: int, answer: Callable[[], dict[str, Any]]) -> None:
            address = {"host": "127.0.0.1", "port": port}
            self.connection_pool = SimpleNamespace(connection_kwargs=address)
            self.sentinel_masters = answer

    def fail() -> dict[str, Any]:
        raise redis.ConnectionError("refused")

    def answer() -> dict[str, Any]:
        both_ask.wait(30)
        master = {"is_master": True, "is_sdown": False, "is_odown": False}
        return {"accounts": {**master, "num-other-sentinels": 0, "ip": "h", "port": 1}}

    first, second = Asked(1, fail), Asked(2, answer)
    sentinels: Any = _Sentinels([])  # type: ignore[no-untyped-call]
    sentinels.sentinels = [first, second]
    threads = [
        threading.Thread(target=sentinels.discover_master, args=("accounts",)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sentinels.sentinels == [second, first]


def test_only_errors_of_connections_are_quoted():
    assert failure_reason(redis.ConnectionError("Error 1\nconnecting")) == (
        "ConnectionError: Error 1 connecting"
    )
    # Old servers quote the arguments of a command that they don't know.
    quoting = redis.ResponseError("unknown command 'AUTH', with args beginning with: 's3cr3t'")
    assert failure_reason(quoting) == "ResponseError"
