"""The service's settings: environment variables, typed and validated at start (contract: operations).

pydantic reads the values. A setting's name, type, bounds and default stand in one line of its class.
"""

import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address
from typing import Annotated, Any, Literal, Self, TypeVar, get_args
from uuid import UUID

import psycopg2
from psycopg2.extensions import make_dsn
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from origin.errors import ConfigurationError
from origin.shared.key_values import headers_in, key_values
from origin.shared.mounted_files import (
    check_authorities,
    check_certificate,
    check_readable,
    read_secret,
)

_HTTP_URL = re.compile(
    r"https?://"
    r"([^\s/?#]*@)?"
    r"([\w.-]+|\[[0-9a-f]*:[0-9a-f:.]*\])"
    r"(:(?P<port>[0-9]{1,5})?)?"
    r"([/?#]\S*)?",
    re.IGNORECASE,
)
_NAME = r"[^\s/?#@:,\[\]]+"
_HOST_NAME = re.compile(_NAME)
_ADDRESS = rf"(?P<host>{_NAME}|\[[0-9a-f]*:[0-9a-f:.%]*\])(:(?P<port>[0-9]{{1,5}}))"
_HOST_AND_PORT = re.compile(_ADDRESS, re.IGNORECASE)
_REDIS_URL = re.compile(rf"(?P<scheme>rediss?)://{_ADDRESS}?/?", re.IGNORECASE)
_DATABASE_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
"""The parameters of DATABASE_URI that name files."""

MIN_SECRET_LENGTH = 16
"""Characters; the start of every process warns of a shorter secret."""
EXAMPLE_SECRETS = frozenset({"development-only-not-a-secret", "sandbox-webhook-secret"})
"""The secrets in .env.example."""


def _not_blank(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError("blank")
    return value


def _http_url(value: str) -> str:
    """Return the URL unchanged. Its host may be a single label or have underscores, as containers' do."""
    found = _HTTP_URL.fullmatch(value)
    if found is None or int(found["port"] or 0) > 65535:
        raise ValueError("not an http:// or https:// URL")
    return value


def _http_url_or_none(value: str) -> str:
    return _http_url(value) if value else ""


def _without_brackets(value: str) -> str:
    """Return an IPv6 address as it is written without a port."""
    return value[1:-1] if value.startswith("[") and value.endswith("]") else value


def _without_slash(value: str) -> str:
    """Return a base URL without trailing slashes; operators write it with and without."""
    return value.rstrip("/")


def _redis_host(value: str) -> str:
    """Return a host, or a URL with nothing but a scheme, a host and a port."""
    if not value:
        raise ValueError("blank")
    host = _without_brackets(value)
    if _HOST_NAME.fullmatch(host) or _is_ipv6(host):
        return host
    found = _REDIS_URL.fullmatch(value)
    if found is None or not 0 < int(found["port"] or 1) <= 65535:
        raise ValueError(
            "neither a host nor rediss://host:port (user, password and databases have variables of their own)"
        )
    return value


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _host_and_port(value: str) -> str:
    found = _HOST_AND_PORT.fullmatch(value)
    if found is None or not 0 < int(found["port"]) <= 65535:
        raise ValueError("not host:port, comma-separated")
    return value


def _split(value: Any) -> Any:
    """Return the non-empty items of `a, b,c`; a list stays as it is."""
    if isinstance(value, str):
        return [item for item in (part.strip() for part in value.split(",")) if item]
    return value


def _origin(value: str) -> str:
    """Return an origin as browsers write it, or `*` for any."""
    trimmed = value.rstrip("/")
    if trimmed != "*" and ("*" in trimmed or not trimmed.startswith(("http://", "https://"))):
        raise ValueError("not an origin (https://host), nor *")
    return trimmed


def _database_uri(value: SecretStr) -> SecretStr:
    """Return the URI with our driver. Only PostgreSQL is accepted, `postgres://` included."""
    try:
        url = make_url(value.get_secret_value())
    except (ArgumentError, ValueError):
        # Not chained: the cause quotes the whole URI, password included.
        raise ValueError("not a database URI") from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ValueError("only postgresql:// is supported")
    _check_parameters(url)
    for name in _DATABASE_FILES:
        path = url.query.get(name, "")
        if path and path != "system":
            try:
                check_readable(str(path))
            except ValueError as error:
                # libpq ignores a missing certificate, and the server then rejects the connection.
                raise ValueError(f"{name}: {error}") from None
    return SecretStr(
        url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    )


def _check_parameters(url: URL) -> None:
    """Check that libpq knows the names of a URI's parameters.

    Errors don't show a name: it may be a part of a password that is not percent-encoded.
    """
    for number, name in enumerate(url.query, 1):
        try:
            make_dsn(**{name: "1"})
        except (psycopg2.ProgrammingError, TypeError):
            raise ValueError(f"PostgreSQL doesn't know parameter {number} after the ?") from None


def _connection_string(value: SecretStr) -> SecretStr:
    """Check Azure's `InstrumentationKey=<uuid>;IngestionEndpoint=<URL>` without quoting any of it."""
    parts = [part for part in map(str.strip, value.get_secret_value().split(";")) if part]
    if not parts:
        return SecretStr("")
    try:
        pairs = {name.lower(): text for name, text in (part.split("=", 1) for part in parts)}
        UUID(pairs["instrumentationkey"])
        if "ingestionendpoint" in pairs:
            _http_url(pairs["ingestionendpoint"])
    except (ValueError, KeyError):
        raise ValueError("not InstrumentationKey=<uuid>;IngestionEndpoint=<URL>") from None
    return SecretStr(";".join(parts))


def _otel_headers(value: SecretStr) -> SecretStr:
    headers_in(value.get_secret_value())
    return value


def _authorities_file(value: str) -> str:
    if value:
        check_authorities(value)
    return value


def _readable_file(value: str) -> str:
    if value:
        check_readable(value)
    return value


def _otel_attributes(value: str) -> str:
    key_values(value)
    return value


_Stripped = StringConstraints(strip_whitespace=True)
_UpperCase = BeforeValidator(lambda value: str(value).upper())
Host = Annotated[str, _Stripped, AfterValidator(_without_brackets)]
Url = Annotated[str, _Stripped, AfterValidator(_http_url)]
RedisHost = Annotated[str, _Stripped, AfterValidator(_redis_host)]
Sentinels = Annotated[list[Annotated[str, AfterValidator(_host_and_port)]], BeforeValidator(_split)]
FilePath = Annotated[str, _Stripped]
UrlOrNone = Annotated[str, _Stripped, AfterValidator(_http_url_or_none)]
BaseUrl = Annotated[str, _Stripped, AfterValidator(_without_slash), AfterValidator(_http_url)]
Origins = Annotated[list[Annotated[str, AfterValidator(_origin)]], BeforeValidator(_split)]
Networks = Annotated[list[IPvAnyNetwork], BeforeValidator(_split)]
NonBlankSecret = Annotated[SecretStr, AfterValidator(_not_blank)]
Secrets = Annotated[list[SecretStr], BeforeValidator(_split)]
DatabaseUri = Annotated[SecretStr, AfterValidator(_database_uri)]
ConnectionString = Annotated[SecretStr, AfterValidator(_connection_string)]
Port = Annotated[int, Field(ge=1, le=65535)]
PortOrZero = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
DrainSeconds = Annotated[float, Field(ge=0, le=3600)]
AuthoritiesFile = Annotated[FilePath, AfterValidator(_authorities_file)]
ReadableFile = Annotated[FilePath, AfterValidator(_readable_file)]
OtelHeaders = Annotated[SecretStr, AfterValidator(_otel_headers)]
OtelAttributes = Annotated[str, AfterValidator(_otel_attributes)]
OtelWord = Annotated[str, _Stripped, BeforeValidator(lambda value: str(value).lower())]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], _UpperCase]

T = TypeVar("T", bound="EnvironmentSettings")


class WrongSettings(ConfigurationError):
    """Variables are missing or wrong.

    :ivar names: The settings that are missing or wrong. For a secret's file, the name is the secret's.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        """Word the error.

        :param reasons: What is wrong, by the variable's name, or by two with `and` in between.
        """
        told = "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items()))
        super().__init__(f"The environment is not right: {told}")
        variables = [each for names in reasons for each in names.split(" and ")]
        self.names = frozenset(each.lower().removesuffix("_file") for each in variables)


class EnvironmentSettings(BaseModel):
    """Settings of environment variables. Make them with `of`, which words the errors."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_default=True, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_utf8(cls, value: Any) -> Any:
        # In `os.environ`, bytes that aren't UTF-8 are surrogates, which nothing can encode.
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise ValueError("not UTF-8") from None
        return value

    @classmethod
    def secret_names(cls) -> Sequence[str]:
        """Return the names of the settings that are secrets, by their types."""
        return [name for name, field in cls.model_fields.items() if _has_secret(field.annotation)]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return settings with these values by name, as texts or typed. Unknown names are ignored.

        An empty text means the default. Only CORS_ORIGINS may be empty: no origin is allowed then.
        `<name>_file` is the path of a file that has a secret's value.

        :raises WrongSettings: naming every variable that is missing or wrong, without values.
        """
        given = {
            name: value
            for name, value in values.items()
            if value is not None and (value != "" or name == "cors_origins")
        }
        # For each setting that comes from a file, the variable to name in errors.
        files = {
            name: f"{name}_file".upper() for name in cls.secret_names() if given.get(f"{name}_file")
        }
        wrong = {}
        for name, variable in files.items():
            if name in given:
                wrong[f"{name.upper()} and {variable}"] = "only one of them may be set"
                continue
            try:
                given[name] = read_secret(str(given[f"{name}_file"]))
            except ValueError as error:
                wrong[variable] = str(error)
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            # One reason for each variable. For a list it is the reason of the last wrong item.
            for each in error.errors(include_input=False, include_url=False):
                name = str(each["loc"][0])
                if name in given or name not in files:
                    reason = each["msg"].removeprefix("Value error, ")
                    wrong[files.get(name, name.upper())] = reason
        if not wrong:
            return settings
        raise WrongSettings(wrong)


def _has_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_has_secret, get_args(annotation)))


class AdoptionSettings(EnvironmentSettings):
    """The setting of `flask adopt` alone."""

    adopt_from: SecretStr | None = None


class DatabaseSettings(EnvironmentSettings):
    """The settings that migrations need."""

    database_uri: DatabaseUri

    @property
    def database_url(self) -> URL:
        """The database's URL, password included."""
        return make_url(self.database_uri.get_secret_value())


class Settings(DatabaseSettings):
    """All settings. Names are the variables' in lower case; delays are seconds."""

    service_name: str
    debug: bool = False
    secret: NonBlankSecret
    cors_origins: Origins
    project_url: BaseUrl
    datahub_service_url: BaseUrl
    ledger_enabled: bool = True
    ledger_url: BaseUrl = ""
    energy_type_service_url: BaseUrl
    webhook_secret: NonBlankSecret
    hydra_url: BaseUrl
    hydra_introspect_url: Url
    hydra_client_id: str
    hydra_client_secret: SecretStr
    hydra_introspect_auth: bool = False
    redis_sentinels: Sentinels = []
    redis_sentinel_master: str = ""
    redis_sentinel_username: str = ""
    redis_sentinel_password: SecretStr = SecretStr("")
    redis_host: RedisHost = ""
    redis_port: Port = 0
    redis_username: str = ""
    redis_password: SecretStr = SecretStr("")
    redis_tls: bool = False
    redis_tls_ca_file: FilePath = ""
    redis_tls_cert_file: FilePath = ""
    redis_tls_key_file: FilePath = ""
    redis_cache_db: CountOrZero
    redis_broker_db: CountOrZero
    redis_backend_db: CountOrZero
    database_conn_poll_size: Count = 10
    azure_app_insights_conn_string: ConnectionString = SecretStr("")
    # OpenTelemetry's; durations are milliseconds, as its specification has them.
    otel_sdk_disabled: bool = False
    otel_traces_exporter: OtelWord = ""
    otel_exporter_otlp_endpoint: UrlOrNone = ""
    otel_exporter_otlp_traces_endpoint: UrlOrNone = ""
    otel_exporter_otlp_headers: OtelHeaders = SecretStr("")
    otel_exporter_otlp_traces_headers: OtelHeaders = SecretStr("")
    otel_exporter_otlp_timeout: Count = 10000
    otel_exporter_otlp_traces_timeout: CountOrZero = 0
    otel_exporter_otlp_certificate: AuthoritiesFile = ""
    otel_exporter_otlp_traces_certificate: AuthoritiesFile = ""
    otel_exporter_otlp_client_certificate: ReadableFile = ""
    otel_exporter_otlp_traces_client_certificate: ReadableFile = ""
    otel_exporter_otlp_client_key: ReadableFile = ""
    otel_exporter_otlp_traces_client_key: ReadableFile = ""
    otel_exporter_otlp_compression: OtelWord = ""
    otel_exporter_otlp_traces_compression: OtelWord = ""
    otel_exporter_otlp_protocol: OtelWord = ""
    otel_exporter_otlp_traces_protocol: OtelWord = ""
    otel_service_name: str = ""
    otel_resource_attributes: OtelAttributes = ""
    otel_traces_sampler: OtelWord = "parentbased_always_on"
    otel_traces_sampler_arg: str = ""
    otel_bsp_schedule_delay: Count = 5000
    otel_bsp_max_queue_size: Count = 2048
    otel_bsp_max_export_batch_size: Count = 512
    log_level: LogLevel = "INFO"
    workers: Count = 3
    worker_connections: Count = 100
    concurrency: Count = 100
    drain_seconds: DrainSeconds = 0
    port: Port = 8085
    bind_host: Host = "0.0.0.0"  # noqa: S104 - a container's own address isn't known before
    metrics_port: PortOrZero = 0
    metrics_enabled: bool = True
    health_enabled: bool = True
    openapi_enabled: bool = True
    docs_enabled: bool = True
    docs_client_id: str = ""
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
    tls_verify: bool = True
    recovery_mode: bool = False
    login_return_origins: Origins = []
    webhook_allow_private: bool = False
    webhook_forbidden_networks: Networks = []
    key_encryption_secrets: Secrets = []

    @field_validator("ledger_url", mode="wrap")
    @classmethod
    def _required_with_a_ledger(cls, value: str, check: Any, info: ValidationInfo) -> str:
        if value:
            return str(check(value))
        if info.data.get("ledger_enabled", True):
            raise ValueError("Field required, unless LEDGER_ENABLED=0")
        return ""

    @field_validator("redis_sentinel_master")
    @classmethod
    def _with_sentinels(cls, value: str, info: ValidationInfo) -> str:
        has_sentinels = info.data.get("redis_sentinels")
        if has_sentinels and not value:
            raise ValueError("Field required with REDIS_SENTINELS")
        if value and has_sentinels == []:
            raise ValueError("needs REDIS_SENTINELS")
        return value

    @field_validator("redis_host", mode="wrap")
    @classmethod
    def _required_without_sentinels(cls, value: str, check: Any, info: ValidationInfo) -> str:
        if value:
            return str(check(value))
        cls._check_has_sentinels(info)
        return ""

    @field_validator("redis_port", mode="wrap")
    @classmethod
    def _or_the_urls(cls, value: Any, check: Any, info: ValidationInfo) -> int:
        url = _REDIS_URL.fullmatch(info.data.get("redis_host", ""))
        in_url = int(url["port"] or 0) if url else 0
        given = int(check(value)) if value else 0
        if given and in_url not in {0, given}:
            raise ValueError("REDIS_HOST names another port")
        if not given and not in_url:
            cls._check_has_sentinels(info)
        return given or in_url

    @staticmethod
    def _check_has_sentinels(info: ValidationInfo) -> None:
        if not info.data.get("redis_sentinels", True):
            raise ValueError("Field required, unless REDIS_SENTINELS is set")

    @field_validator("redis_tls")
    @classmethod
    def _or_by_url(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's way
        return value or info.data.get("redis_host", "").lower().startswith("rediss://")

    @field_validator("redis_tls_ca_file", "redis_tls_cert_file", "redis_tls_key_file")
    @classmethod
    def _file_for_tls(cls, value: str, info: ValidationInfo) -> str:
        if value and not info.data.get("redis_tls", True):
            raise ValueError("needs REDIS_TLS=1")
        certificate = info.data.get("redis_tls_cert_file")
        match info.field_name:
            case "redis_tls_ca_file" if value:
                check_authorities(value)
            case "redis_tls_cert_file" if value:
                check_readable(value)
            case "redis_tls_key_file" if certificate is not None:
                if bool(value) != bool(certificate):
                    raise ValueError("REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE go together")
                if value:
                    check_certificate(certificate, value)
        return value

    @field_validator("login_return_origins")
    @classmethod
    def _or_cors_origins(cls, value: list[str], info: ValidationInfo) -> list[str]:
        return value or info.data.get("cors_origins", [])

    @field_validator("key_encryption_secrets")
    @classmethod
    def _or_secret(cls, value: list[SecretStr], info: ValidationInfo) -> list[SecretStr]:
        # If SECRET itself is wrong, it is missing here, and has an error of its own.
        return value or ([info.data["secret"]] if "secret" in info.data else [])

    def weak_secrets(self) -> list[str]:
        """Return a warning, without values, for each variable whose secret is easy to guess."""
        given = {
            "SECRET": [self.secret],
            "KEY_ENCRYPTION_SECRETS": [
                each for each in self.key_encryption_secrets if each != self.secret
            ],
            "WEBHOOK_SECRET": [self.webhook_secret],
        }
        found = []
        for name, secrets in given.items():
            if any(each.get_secret_value() in EXAMPLE_SECRETS for each in secrets):
                found.append(f"{name} is the one that .env.example shows to everybody")
            elif any(len(each) < MIN_SECRET_LENGTH for each in secrets):
                found.append(f"{name} has fewer than {MIN_SECRET_LENGTH} characters")
        return found

    @property
    def redis_address(self) -> tuple[str, int]:
        """The host and the port of Redis. They mean nothing with Sentinels."""
        url = _REDIS_URL.fullmatch(self.redis_host)
        return _without_brackets(url["host"]) if url else self.redis_host, self.redis_port

    @property
    def redis_sentinel_addresses(self) -> Sequence[tuple[str, int]]:
        """The host and the port of each Sentinel."""
        pairs = [each.rpartition(":") for each in self.redis_sentinels]
        return [(_without_brackets(host), int(port)) for host, _, port in pairs]


def load_settings(kind: type[T]) -> T:
    """Read settings of this class from the environment.

    :raises WrongSettings: naming every variable that is missing or wrong, without values.
    """
    return kind.of(environment())


def environment() -> dict[str, str]:
    """Return the environment's variables by their names in lower case."""
    return {name.lower(): value for name, value in os.environ.items()}
