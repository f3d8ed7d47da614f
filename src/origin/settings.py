"""Settings: the environment variables of contract operations, typed and validated at boot.

Each stands in its class once: its name, type and default, and in the type's `Annotated` the marshmallow
field that reads it.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self, TypeVar, get_args
from uuid import UUID

from marshmallow import ValidationError
from marshmallow.fields import Boolean, Float, Integer, Raw, String
from marshmallow.validate import OneOf, Range
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from origin.errors import ConfigurationError
from origin.webhooks.rules.public_addresses import Network

_HTTP_URL = re.compile(
    r"https?://"
    r"([^\s/?#]*@)?"
    r"([\w.-]+|\[[0-9a-f]*:[0-9a-f:.]*\])"
    r"(:(?P<port>[0-9]{1,5})?)?"
    r"([/?#]\S*)?",
    re.IGNORECASE,
)


MIN_SECRET_LENGTH = 16
EXAMPLE_SECRETS = frozenset({"development-only-not-a-secret", "sandbox-webhook-secret"})
"""Those of .env.example."""


class Secret:
    """A text that only `value` shows: logged, printed or put into a message, it is asterisks."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "**********"


_NO_SECRET = Secret("")


def _secret(value: Any) -> Secret:
    return value if isinstance(value, Secret) else Secret(str(value))


def _not_blank(value: Secret) -> Secret:
    if not value.value.strip():
        raise ValidationError("blank")
    return value


def _url(value: str) -> str:
    """An address as it stands. Hosts may be single labels, and have underscores, as containers do."""
    found = _HTTP_URL.fullmatch(value)
    if found is None or int(found["port"] or 0) > 65535:
        raise ValidationError("not an http:// or https:// URL")
    return value


def _without_brackets(value: str) -> str:
    """An IPv6 address as it stands without a port beside it."""
    return value[1:-1] if value.startswith("[") and value.endswith("]") else value


def _without_slash(value: str) -> str:
    """A base address without its trailing slash, as the operators' habit allows either."""
    return value.rstrip("/")


def _comma_separated(value: Any) -> Any:
    """The non-empty items of `a, b,c`."""
    if isinstance(value, str):
        return [item for item in (part.strip() for part in value.split(",")) if item]
    return value


def _each(read: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda items: [read(item) for item in items]


def _origin(value: str) -> str:
    """An origin as browsers write it, or `*` for any."""
    trimmed = value.rstrip("/")
    if trimmed != "*" and ("*" in trimmed or not trimmed.startswith(("http://", "https://"))):
        raise ValidationError("not an origin (https://host), nor *")
    return trimmed


def _network(value: str) -> Network:
    try:
        return ip_network(value)
    except ValueError:
        raise ValidationError("not a network (203.0.113.0/24, 2001:db8::/32)") from None


def _whole(value: Any) -> str:
    """What `int` reads, where this is a whole number: 3.0 is one, 3.5 and True aren't."""
    return re.sub(r"\.0+\s*$", "", str(value))


def _database_uri(value: Secret) -> Secret:
    """Accept the short scheme that some platforms hand out, and refuse other databases."""
    try:
        url = make_url(value.value)
    except (ArgumentError, ValueError):
        # Not chained: the cause would quote the whole URI, password included.
        raise ValidationError("not a database URI") from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ValidationError("only postgresql:// is supported")
    return Secret(url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False))


def _connection_string(value: Secret) -> Secret:
    """Azure's form: `InstrumentationKey=<uuid>;IngestionEndpoint=<URL>`; nothing of it is quoted."""
    parts = [part for part in map(str.strip, value.value.split(";")) if part]
    if not parts:
        return _NO_SECRET
    try:
        pairs = {name.lower(): text for name, text in (part.split("=", 1) for part in parts)}
        UUID(pairs["instrumentationkey"])
        if "ingestionendpoint" in pairs:
            _url(pairs["ingestionendpoint"])
    except (ValueError, KeyError, ValidationError):
        raise ValidationError("not InstrumentationKey=<uuid>;IngestionEndpoint=<URL>") from None
    return Secret(";".join(parts))


T = TypeVar("T", bound="DatabaseSettings")

Text = Annotated[str, String()]
Host = Annotated[str, String(post_load=[str.strip, _without_brackets])]
Url = Annotated[str, String(post_load=[str.strip, _url])]
BaseUrl = Annotated[str, String(post_load=[str.strip, _without_slash, _url])]
Origins = Annotated[list[str], Raw(post_load=[_comma_separated, _each(_origin)])]
Networks = Annotated[list[Network], Raw(post_load=[_comma_separated, _each(_network)])]
SecretText = Annotated[Secret, Raw(post_load=_secret)]
KeyText = Annotated[Secret, Raw(post_load=[_secret, _not_blank])]
Secrets = Annotated[list[Secret], Raw(post_load=[_comma_separated, _each(_secret)])]
DatabaseUri = Annotated[Secret, Raw(post_load=[_secret, _database_uri])]
ConnectionString = Annotated[Secret, Raw(post_load=[_secret, _connection_string])]
Flag = Annotated[bool, Boolean(pre_load=lambda value: str(value).lower())]
Port = Annotated[int, Integer(pre_load=_whole, validate=Range(1, 65535))]
PortOrZero = Annotated[int, Integer(pre_load=_whole, validate=Range(0, 65535))]
Count = Annotated[int, Integer(pre_load=_whole, validate=Range(1))]
CountOrZero = Annotated[int, Integer(pre_load=_whole, validate=Range(0))]
Seconds = Annotated[float, Float(validate=Range(0, min_inclusive=False))]
SecondsOrZero = Annotated[float, Float(validate=Range(0))]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogLevel = Annotated[Level, String(post_load=[str.upper, OneOf(get_args(Level))])]


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """What migrations alone need. Made by `of`: the constructor checks nothing."""

    database_uri: DatabaseUri

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Settings of these values by name, texts or typed; what is no setting is ignored.

        :raises ConfigurationError: naming every variable that is missing or wrong, without values.
        """
        good: dict[str, Any] = {}
        wrong: list[str] = []
        for each in fields(cls):
            value = values.get(each.name)
            # `NAME=` stands for the default; only for CORS_ORIGINS is "none" a value of its own.
            if value is None or (value == "" and each.name != "cors_origins"):
                if each.default is MISSING and each.default_factory is MISSING:
                    wrong.append(f"{each.name.upper()}: Field required")
                continue
            _, reader = get_args(each.type)
            try:
                # An environment may hold what isn't UTF-8.
                str(value).encode()
                good[each.name] = reader.deserialize(value)
            except ValidationError as error:
                wrong.append(f"{each.name.upper()}: {' '.join(map(str, error.messages))}")
            except UnicodeEncodeError:
                wrong.append(f"{each.name.upper()}: not UTF-8")
        wrong.extend(cls._wrong_together(values, good))
        if wrong:
            raise ConfigurationError("The environment is not right: " + "; ".join(sorted(wrong)))
        return cls(**good)

    @classmethod
    def _wrong_together(
        cls,
        values: Mapping[str, Any],  # noqa: ARG003 - for subclasses
        good: Mapping[str, Any],  # noqa: ARG003 - for subclasses
    ) -> list[str]:
        """What is wrong with values that are right each by itself: `NAME: reason`."""
        return []

    @property
    def database_url(self) -> URL:
        """The address of the database, password included."""
        return make_url(self.database_uri.value)


@dataclass(frozen=True, kw_only=True)
class Settings(DatabaseSettings):
    """All settings. Names are the variables' in lower case; delays are seconds."""

    service_name: Text
    debug: Flag = False
    secret: KeyText
    cors_origins: Origins
    project_url: BaseUrl
    datahub_service_url: BaseUrl
    ledger_enabled: Flag = True
    ledger_url: BaseUrl = ""
    energy_type_service_url: BaseUrl
    webhook_secret: KeyText
    hydra_url: BaseUrl
    hydra_introspect_url: Url
    hydra_client_id: Text
    hydra_client_secret: SecretText
    hydra_introspect_auth: Flag = False
    redis_host: Text
    redis_port: Port
    redis_username: Text = ""
    redis_password: SecretText = _NO_SECRET
    redis_cache_db: CountOrZero
    redis_broker_db: CountOrZero
    redis_backend_db: CountOrZero
    database_conn_poll_size: Count = 10
    azure_app_insights_conn_string: ConnectionString = _NO_SECRET
    log_level: LogLevel = "INFO"
    workers: Count = 3
    worker_connections: Count = 100
    concurrency: Count = 100
    port: Port = 8085
    bind_host: Host = "0.0.0.0"  # noqa: S104 - a container's own address isn't known before
    metrics_port: PortOrZero = 0
    metrics_enabled: Flag = True
    health_enabled: Flag = True
    openapi_enabled: Flag = True
    docs_enabled: Flag = True
    ledger_submit_retry_delay: Seconds = 20
    ledger_poll_delay: Seconds = 10
    batch_resubmit_after: Seconds = 6 * 3600
    sweep_interval: Seconds = 10
    reconcile_interval: Seconds = 3600
    webhook_retry_delay: Seconds = 60
    datahub_retry_delay: Seconds = 10
    lease_seconds: Seconds = 60
    max_body_bytes: Count = 1024 * 1024
    body_time_limit: Seconds = 30
    rate_limit_per_minute: CountOrZero = 0
    token_cache_seconds: SecondsOrZero = 30
    tls_verify: Flag = True
    recovery_mode: Flag = False
    login_return_origins: Origins = field(default_factory=list)
    webhook_allow_private: Flag = False
    webhook_forbidden_networks: Networks = field(default_factory=list)
    key_encryption_secrets: Secrets = field(default_factory=list)

    def __post_init__(self) -> None:
        # The only way for a frozen class to fill in what depends on its other values.
        if not self.login_return_origins:
            object.__setattr__(self, "login_return_origins", list(self.cors_origins))
        if not self.key_encryption_secrets:
            object.__setattr__(self, "key_encryption_secrets", [self.secret])

    @classmethod
    def _wrong_together(cls, values: Mapping[str, Any], good: Mapping[str, Any]) -> list[str]:
        """See the base class."""
        if not values.get("ledger_url") and good.get("ledger_enabled", True):
            return ["LEDGER_URL: Field required, unless LEDGER_ENABLED=0"]
        return []

    def weak_secrets(self) -> list[str]:
        """What is wrong with secrets that others may guess, by variable; no value is shown."""
        given = {
            "SECRET": [self.secret],
            "KEY_ENCRYPTION_SECRETS": [
                each for each in self.key_encryption_secrets if each.value != self.secret.value
            ],
            "WEBHOOK_SECRET": [self.webhook_secret],
        }
        found = []
        for name, secrets in given.items():
            if any(each.value in EXAMPLE_SECRETS for each in secrets):
                found.append(f"{name} is the one that .env.example shows to everybody")
            elif any(len(each.value) < MIN_SECRET_LENGTH for each in secrets):
                found.append(f"{name} has fewer than {MIN_SECRET_LENGTH} characters")
        return found

    @cached_property
    def broker_url(self) -> str:
        """Where Celery's queue is, password included."""
        return self._redis_url(self.redis_broker_db)

    @cached_property
    def backend_url(self) -> str:
        """Where Celery keeps results, password included."""
        return self._redis_url(self.redis_backend_db)

    @cached_property
    def cache_url(self) -> str:
        """Where caches live, password included."""
        return self._redis_url(self.redis_cache_db)

    def _redis_url(self, database: int) -> str:
        password = self.redis_password.value or None
        return URL.create(
            "redis",
            # An empty name, where there is a password alone: without any the password is left out.
            username=self.redis_username or ("" if password else None),
            password=password,
            host=self.redis_host,
            port=self.redis_port,
            database=str(database),
        ).render_as_string(hide_password=False)


def load_settings(kind: type[T]) -> T:
    """Read settings of this kind from the environment.

    :raises ConfigurationError: naming every variable that is missing or wrong, without values.
    """
    return kind.of({name.lower(): value for name, value in os.environ.items()})
