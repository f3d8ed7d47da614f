"""Settings: the environment variables of contract operations, typed and validated at boot."""

from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from origin.errors import ConfigurationError

_http_url = TypeAdapter(HttpUrl)


def _url(value: str) -> str:
    """An address as it stands."""
    trimmed = value.strip()
    _http_url.validate_python(trimmed)
    return trimmed


def _base_url(value: str) -> str:
    """A base address without its trailing slash, as the operators' habit allows either."""
    return _url(value.strip().rstrip("/"))


def _comma_separated(value: object) -> object:
    """The non-empty items of `a, b,c`."""
    if isinstance(value, str):
        return [item for item in (part.strip() for part in value.split(",")) if item]
    return value


def _origin(value: str) -> str:
    """An origin as browsers write it, or `*` for any."""
    trimmed = value.rstrip("/")
    if trimmed != "*" and ("*" in trimmed or not trimmed.startswith(("http://", "https://"))):
        raise ValueError("not an origin (https://host), nor *")
    return trimmed


def _database_uri(value: object) -> object:
    """Accept the short scheme that some platforms hand out, and refuse other databases."""
    raw = value.get_secret_value() if isinstance(value, SecretStr) else value
    try:
        url = make_url(str(raw))
    except (ArgumentError, ValueError):
        # Not chained: the cause would quote the whole URI, password included.
        raise ValueError("not a database URI") from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ValueError("only postgresql:// is supported")
    return url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


def _connection_string(value: SecretStr) -> SecretStr:
    """Azure's form: `InstrumentationKey=<uuid>;IngestionEndpoint=<URL>`; nothing of it is quoted."""
    parts = [part for part in value.get_secret_value().split(";") if part]
    if not parts:
        return value
    try:
        pairs = {name.lower(): text for name, text in (part.split("=", 1) for part in parts)}
        UUID(pairs["instrumentationkey"])
        if "ingestionendpoint" in pairs:
            _http_url.validate_python(pairs["ingestionendpoint"])
    except (ValueError, KeyError):
        raise ValueError("not InstrumentationKey=<uuid>;IngestionEndpoint=<URL>") from None
    return SecretStr(";".join(parts))


Url = Annotated[str, BeforeValidator(_url)]
BaseUrl = Annotated[str, BeforeValidator(_base_url)]
T = TypeVar("T", bound=BaseSettings)

Origins = Annotated[
    list[Annotated[str, AfterValidator(_origin)]], NoDecode, BeforeValidator(_comma_separated)
]
Secrets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_comma_separated)]
DatabaseUri = Annotated[SecretStr, BeforeValidator(_database_uri)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: str(value).upper()),
]
ConnectionString = Annotated[SecretStr, AfterValidator(_connection_string)]
NonEmptySecret = Annotated[SecretStr, Field(min_length=1)]
NonEmpty = Annotated[str, Field(min_length=1)]


class DatabaseSettings(BaseSettings):
    """What migrations alone need."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True)

    database_uri: DatabaseUri

    @property
    def database_url(self) -> URL:
        """The address of the database, password included."""
        return make_url(self.database_uri.get_secret_value())


class Settings(DatabaseSettings):
    """All settings. Names are the variables' in lower case; delays are seconds."""

    service_name: NonEmpty
    debug: bool = False
    secret: NonEmptySecret
    cors_origins: Origins
    project_url: BaseUrl
    datahub_service_url: BaseUrl
    ledger_url: BaseUrl
    energy_type_service_url: BaseUrl
    webhook_secret: NonEmptySecret
    hydra_url: BaseUrl
    hydra_introspect_url: Url
    hydra_client_id: NonEmpty
    hydra_client_secret: NonEmptySecret
    hydra_introspect_auth: bool = False
    redis_host: NonEmpty
    redis_port: Port
    redis_username: str = ""
    redis_password: SecretStr = SecretStr("")
    redis_cache_db: Annotated[int, Field(ge=0)]
    redis_broker_db: Annotated[int, Field(ge=0)]
    redis_backend_db: Annotated[int, Field(ge=0)]
    database_conn_poll_size: Count = 10
    azure_app_insights_conn_string: ConnectionString = SecretStr("")
    log_level: LogLevel = "INFO"
    workers: Count = 3
    worker_connections: Count = 100
    concurrency: Count = 100
    bind_host: NonEmpty = "0.0.0.0"  # noqa: S104 - a container's own address isn't known before
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    metrics_enabled: bool = True
    health_enabled: bool = True
    openapi_enabled: bool = True
    docs_enabled: bool = True
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
    rate_limit_per_minute: Annotated[int, Field(ge=0)] = 0
    token_cache_seconds: Annotated[float, Field(ge=0)] = 30
    tls_verify: bool = True
    login_return_origins: Origins = Field(default_factory=list)
    webhook_allow_private: bool = False
    key_encryption_secrets: Secrets = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, values: dict[str, Any]) -> dict[str, Any]:
        """`NAME=` stands for the default; only for CORS_ORIGINS is "none" a value of its own."""
        return {
            name: value for name, value in values.items() if value != "" or name == "cors_origins"
        }

    @model_validator(mode="after")
    def _defaults_from_others(self) -> Self:
        if not self.login_return_origins:
            self.login_return_origins = list(self.cors_origins)
        if not self.key_encryption_secrets:
            self.key_encryption_secrets = [self.secret]
        return self

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
        return URL.create(
            "redis",
            username=self.redis_username or None,
            password=self.redis_password.get_secret_value() or None,
            host=self.redis_host,
            port=self.redis_port,
            database=str(database),
        ).render_as_string(hide_password=False)


def load_settings(kind: type[T]) -> T:
    """Read settings of this kind from the environment.

    :raises ConfigurationError: naming every variable that is missing or wrong, without values.
    """
    try:
        return kind()
    except ValidationError as error:
        lines = sorted(
            f"  {'_'.join(str(part) for part in item['loc'][:1]).upper()}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        )
        message = "The environment is not right:\n" + "\n".join(lines)
        # Not chained: the cause carries the values.
        raise ConfigurationError(message) from None
