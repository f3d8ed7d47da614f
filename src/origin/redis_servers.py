"""How all processes connect to Redis: by TLS or not, to one server or to the primary that Sentinels name.

Redis's own words for primary and replica are master and slave.
"""

import ssl
from collections.abc import Mapping
from typing import Any, ClassVar

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel
from sqlalchemy.engine import URL

from origin.settings import Settings

_PROBE_KEY = "account-service:probe"
_PROBE_KEY_LIVES_MS = 2000


def redis_client(settings: Settings, database: int, timeout_s: float) -> redis.Redis:
    """Return a new client of the primary, which connects at its first call. The caller closes it.

    With Sentinels, each new connection asks for the primary's address, first the Sentinel that answered
    last in this process.

    :param database: One of the settings' numbers of databases.
    :param timeout_s: The limit for connecting, and for each wait for bytes. With Sentinels, it also
        limits each of them.
    """
    timeouts = _timeouts(timeout_s, timeout_s)
    options = {
        **timeouts,
        **_tls_options(settings),
        "db": database,
        "username": settings.redis_username or None,
        "password": settings.redis_password.get_secret_value() or None,
    }
    if settings.redis_sentinels:
        addresses = settings.redis_sentinel_addresses
        sentinels: Any = _Sentinels(  # type: ignore[no-untyped-call] # no types
            sorted(addresses, key=lambda each: each != _Sentinels.answered_last),
            sentinel_kwargs=_sentinel_options(settings, timeouts),
            **options,
        )
        primary: redis.Redis = sentinels.master_for(
            settings.redis_sentinel_master, _Primary, ssl=settings.redis_tls
        )
        return primary
    host, port = settings.redis_address
    return redis.Redis.from_pool(
        ConnectionPool(
            connection_class=SSLConnection if settings.redis_tls else Connection,
            host=host,
            port=port,
            **options,
        )
    )


def celery_options(
    settings: Settings, *, connect_timeout_s: float, timeout_s: float
) -> dict[str, Any]:
    """Return Celery's options of its queue and its results. They contain passwords.

    :param connect_timeout_s: The limit for connecting to the queue's server, and to each Sentinel.
    :param timeout_s: The limit for each wait for bytes of the queue's server.
    """
    transport = _timeouts(timeout_s, connect_timeout_s)
    options: dict[str, Any] = {
        "broker_url": _celery_url(settings, settings.redis_broker_db),
        "result_backend": _celery_url(settings, settings.redis_backend_db),
        "broker_transport_options": transport,
    }
    if settings.redis_tls:
        options["broker_use_ssl"] = options["redis_backend_use_ssl"] = _tls_options(settings)
    if settings.redis_sentinels:
        limits = _timeouts(connect_timeout_s, connect_timeout_s)
        sentinel = {
            "master_name": settings.redis_sentinel_master,
            "sentinel_kwargs": _sentinel_options(settings, limits),
        }
        options["broker_transport_options"] = {**transport, **sentinel}
        options["result_backend_transport_options"] = sentinel
    return options


def probe_writes(client: redis.Redis) -> None:
    """Write as wake-ups do. A PING also succeeds at a replica, or at a server without free memory.

    It leaves nothing behind: the key expires after two seconds, even if the client is killed.

    :raises redis.RedisError: the server can't be written to.
    """
    with client.pipeline() as pipeline:
        pipeline.lpush(_PROBE_KEY, 1)
        pipeline.pexpire(_PROBE_KEY, _PROBE_KEY_LIVES_MS)
        pipeline.rpop(_PROBE_KEY)
        pipeline.execute()


def failure_reason(error: BaseException) -> str:
    """Return an error's type in one line without secrets; for a failed connection, also the reason."""
    name = type(error).__name__
    # Other errors may quote a command, and so its arguments.
    if not isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return name
    return f"{name}: {' '.join(str(error).split())}"


class _Sentinels(Sentinel):
    """redis-py's Sentinels, which many threads and greenlets may ask at once.

    redis-py swaps places in a list that all of them read. Two that do so at the same time can
    lose a Sentinel. Its error shows all options of each connection, passwords included.

    :cvar answered_last: The address of the Sentinel that has answered last. Clients that live for one
        call ask it first. Otherwise a silent Sentinel before it would let each probe time out.
    """

    answered_last: ClassVar[tuple[str, int] | None] = None

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the primary's host and port, from the first Sentinel that knows them.

        :raises MasterNotFoundError: no Sentinel knows them. The message says why.
        """
        reasons = []
        for sentinel in self.sentinels:
            options = sentinel.connection_pool.connection_kwargs
            where = "{host}:{port}".format_map(options)
            try:
                known: Any = sentinel.sentinel_masters()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                reasons.append(f"{where}: {error}")
                continue
            state = known.get(service_name)
            if state and self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]
                # The next connection asks this one first.
                others = [each for each in self.sentinels if each is not sentinel]
                self.sentinels = [sentinel, *others]
                _Sentinels.answered_last = (options["host"], options["port"])
                return state["ip"], state["port"]
            reasons.append(f"{where}: {'it is down' if state else 'unknown'}")
        raise MasterNotFoundError(f"No primary named {service_name!r} ({'; '.join(reasons)})")


class _Primary(redis.Redis):
    """A client of the primary, which also closes its connections to the Sentinels."""

    def close(self) -> None:
        """Close all connections."""
        super().close()
        pool: Any = self.connection_pool
        pool.sentinel_manager.close()


def _timeouts(timeout_s: float, connect_timeout_s: float) -> dict[str, Any]:
    return {"socket_timeout": timeout_s, "socket_connect_timeout": connect_timeout_s}


def _tls_options(settings: Settings) -> dict[str, Any]:
    """Return redis-py's options for TLS; none without TLS.

    redis-py reads the files for each connection, so a renewed certificate counts without a restart.
    """
    if not settings.redis_tls:
        return {}
    files = {
        "ssl_ca_certs": settings.redis_tls_ca_file,
        "ssl_certfile": settings.redis_tls_cert_file,
        "ssl_keyfile": settings.redis_tls_key_file,
    }
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        **{name: path for name, path in files.items() if path},
    }


def _sentinel_options(settings: Settings, timeouts: Mapping[str, Any]) -> dict[str, Any]:
    """Return redis-py's options of a connection to a Sentinel."""
    return {
        **timeouts,
        **_tls_options(settings),
        "ssl": settings.redis_tls,
        "username": settings.redis_sentinel_username or None,
        "password": settings.redis_sentinel_password.get_secret_value() or None,
        # Connections stay open, and a Sentinel may have been restarted. By default redis-py would
        # retry three times, seconds apart, before it asks the next Sentinel. A silent one stays silent.
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    }


def _celery_url(settings: Settings, database: int) -> str:
    """Return the URL of a database, password included; with Sentinels one URL for each.

    Each has the Redis server's user and password. Celery takes the Sentinels' from the options.
    """
    password = settings.redis_password.get_secret_value() or None
    addresses = settings.redis_sentinel_addresses or [settings.redis_address]
    urls = [
        URL.create(
            "sentinel" if settings.redis_sentinels else "redis",
            # With a password alone the name must be "": SQLAlchemy drops a password without a name.
            username=settings.redis_username or ("" if password else None),
            password=password,
            host=host,
            port=port,
            database=str(database),
        ).render_as_string(hide_password=False)
        for host, port in addresses
    ]
    return ";".join(urls)
