"""Checks of Redis: writes, eviction, certificate, Sentinels."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import redis

from origin.doctor.client import CannotLook, certificate_expiry
from origin.doctor.rules import (
    OLDEST_REDIS,
    Check,
    Finding,
    fail,
    judge_certificate,
    ok,
    warn,
)
from origin.redis_servers import failure_reason, probe_writes, redis_client
from origin.settings import Settings
from origin.shared.clock import utcnow

_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class RedisChecks:
    """Makes the checks of Redis."""

    settings: Settings

    def all(self) -> Sequence[Check]:
        """Return the checks that fit the settings."""
        checks = {"redis": self._write, "redis memory": self._memory}
        if self.settings.redis_sentinels:
            checks["redis sentinels"] = self._sentinels
        elif self.settings.redis_tls:
            checks["redis certificate"] = self._certificate
        return [Check(name, run, ["redis_"]) for name, run in checks.items()]

    def _write(self) -> Iterator[Finding]:
        """Write to each of our databases."""
        check = "redis"
        settings = self.settings
        numbers = {
            "REDIS_BROKER_DB": settings.redis_broker_db,
            "REDIS_BACKEND_DB": settings.redis_backend_db,
            "REDIS_CACHE_DB": settings.redis_cache_db,
        }
        for variable, number in numbers.items():
            try:
                with redis_client(settings, number, _TIMEOUT_S) as client:
                    probe_writes(client)
            except redis.RedisError as error:
                yield fail(check, f"{variable} {number} can't be written: {self._words(error)}")
                return
        yield ok(check, "It takes writes to all three databases.")

    def _memory(self) -> Iterator[Finding]:
        check = "redis memory"
        try:
            with redis_client(self.settings, self.settings.redis_broker_db, _TIMEOUT_S) as client:
                info: Any = client.info()
        except redis.exceptions.NoPermissionError:
            yield warn(
                check, "Not checked: the user may not execute INFO. The service doesn't need it."
            )
            return
        except redis.RedisError as error:
            yield fail(check, f"Its state can't be read: {self._words(error)}")
            return
        version = str(info.get("redis_version", "?"))
        if version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) < OLDEST_REDIS:
            yield fail(check, f"It is version {version}; {OLDEST_REDIS} or later is needed.")
            return
        policy, limit = str(info.get("maxmemory_policy", "?")), int(info.get("maxmemory") or 0)
        if limit and policy.startswith("allkeys"):
            yield warn(
                check,
                f"maxmemory-policy is {policy}: it may drop wake-ups, whose work then waits for Beat's "
                "next sweep. Set noeviction.",
            )
        else:
            yield ok(
                check,
                f"Version {version} drops no wake-ups (maxmemory {limit}, maxmemory-policy {policy}).",
            )

    def _certificate(self) -> Iterator[Finding]:
        check = "redis certificate"
        context = ssl.create_default_context(cafile=self.settings.redis_tls_ca_file or None)
        if self.settings.redis_tls_cert_file:
            context.load_cert_chain(
                self.settings.redis_tls_cert_file, self.settings.redis_tls_key_file
            )
        try:
            expires_at = certificate_expiry(*self.settings.redis_address, context)
        except CannotLook as error:
            yield fail(check, f"{error} Check REDIS_HOST and REDIS_TLS_CA_FILE.")
        else:
            yield judge_certificate(check, expires_at, utcnow())

    def _sentinels(self) -> Iterator[Finding]:
        check = "redis sentinels"
        with redis_client(self.settings, self.settings.redis_broker_db, _TIMEOUT_S) as client:
            pool: Any = client.connection_pool
            sentinels = pool.sentinel_manager.sentinels
            answering = sum(map(_answers, sentinels))
        told = f"{answering} of {len(sentinels)} Sentinels answer."
        if not answering:
            yield fail(check, f"{told} Check REDIS_SENTINELS, and whether they run.")
        elif answering < len(sentinels):
            yield warn(check, f"{told} Start the others: a failover needs a majority.")
        else:
            yield ok(check, told)

    def _words(self, error: redis.RedisError) -> str:
        """Return why Redis fails, and what to do."""
        variable = "REDIS_SENTINELS" if self.settings.redis_sentinels else "REDIS_HOST"
        match error:
            case redis.exceptions.ReadOnlyError():
                return f"it is a replica. Let {variable} lead to the primary."
            case redis.exceptions.OutOfMemoryError():
                return "its memory is full. Raise maxmemory."
            case redis.AuthenticationError() | redis.exceptions.NoPermissionError():
                return f"it refuses the user ({type(error).__name__}). Check the user and the password."
            case redis.ConnectionError() | redis.TimeoutError():
                reason = failure_reason(error).rstrip(".")
                return f"it can't be reached ({reason}). Check {variable}; does it run?"
            case _:
                return f"{failure_reason(error)}. Check {variable}: is that a Redis?"


def _answers(sentinel: redis.Redis) -> bool:
    try:
        with closing(sentinel):
            return bool(sentinel.ping())
    except redis.RedisError:
        return False
