"""Settings: one message names everything that is wrong, without values."""

import logging
from typing import Any

import pytest

from origin.errors import ConfigurationError
from origin.settings import DatabaseSettings, Settings, load_settings
from origin.telemetry.logs import configure_logging

REQUIRED = {
    "SERVICE_NAME": "AccountService",
    "SECRET": "hush",
    "CORS_ORIGINS": "http://a.example, http://b.example",
    "PROJECT_URL": "http://accounts.example/",
    "DATAHUB_SERVICE_URL": "http://datahub.example",
    "LEDGER_URL": "http://ledger.example//",
    "ENERGY_TYPE_SERVICE_URL": "http://energy.example",
    "WEBHOOK_SECRET": "hush too",
    "HYDRA_URL": "http://hydra.example",
    "HYDRA_INTROSPECT_URL": "http://hydra.example/oauth2/introspect",
    "HYDRA_CLIENT_ID": "accounts",
    "HYDRA_CLIENT_SECRET": "hush as well",
    "REDIS_HOST": "redis",
    "REDIS_PORT": "6379",
    "REDIS_CACHE_DB": "0",
    "REDIS_BROKER_DB": "1",
    "REDIS_BACKEND_DB": "2",
    "DATABASE_URI": "postgresql://user:pass%40word@db/accounts",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_required_variables_are_enough(environment: pytest.MonkeyPatch):
    del environment
    settings = load_settings(Settings)
    assert settings.project_url == "http://accounts.example"
    assert settings.ledger_url == "http://ledger.example"
    assert settings.cors_origins == ["http://a.example", "http://b.example"]
    assert settings.login_return_origins == settings.cors_origins
    assert [each.get_secret_value() for each in settings.key_encryption_secrets] == ["hush"]
    assert settings.database_url.password == "pass@word"
    assert (settings.sweep_interval, settings.lease_seconds, settings.tls_verify) == (10, 60, True)


def test_ledger_url_is_optional_without_a_ledger(environment: pytest.MonkeyPatch):
    environment.setenv("LEDGER_URL", "")
    with pytest.raises(ConfigurationError, match="LEDGER_URL: Field required"):
        load_settings(Settings)
    environment.setenv("LEDGER_ENABLED", "0")
    assert not load_settings(Settings).ledger_enabled


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_missing_variable_is_named(environment: pytest.MonkeyPatch, name: str):
    environment.delenv(name)
    with pytest.raises(ConfigurationError, match=rf"(: |; ){name}: Field required"):
        load_settings(Settings)


def test_all_wrong_variables_are_named_at_once_without_values(environment: pytest.MonkeyPatch):
    environment.delenv("SECRET")
    wrong = {
        "REDIS_PORT": "s3cr3t",
        "DATABASE_URI": "mysql://root:s3cr3t@db/x",
        "LEDGER_URL": "s3cr3t",
        "LEDGER_POLL_DELAY": "-0.777",
        "LOG_LEVEL": "s3cr3t",
        "DEBUG": "s3cr3t",
        "WEBHOOK_SECRET": "",
    }
    for name, value in wrong.items():
        environment.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings(Settings)
    message = str(raised.value)
    for name in ("SECRET", *wrong):
        assert f" {name}: " in message
    assert "\n" not in message
    assert "s3cr3t" not in message
    assert "0.777" not in message
    assert raised.value.__cause__ is None


def test_empty_means_the_default(environment: pytest.MonkeyPatch):
    for name in (
        "DEBUG",
        "WORKERS",
        "LEDGER_POLL_DELAY",
        "REDIS_PASSWORD",
        "KEY_ENCRYPTION_SECRETS",
    ):
        environment.setenv(name, "")
    settings = load_settings(Settings)
    assert (settings.debug, settings.workers, settings.ledger_poll_delay) == (False, 3, 10)


def test_cors_origins_may_be_empty(environment: pytest.MonkeyPatch):
    environment.setenv("CORS_ORIGINS", "")
    assert load_settings(Settings).cors_origins == []


def test_several_secrets_and_fractions_of_a_second(environment: pytest.MonkeyPatch):
    environment.setenv("KEY_ENCRYPTION_SECRETS", "new, old")
    environment.setenv("SWEEP_INTERVAL", "0.25")
    environment.setenv("LOG_LEVEL", "debug")
    settings = load_settings(Settings)
    assert [each.get_secret_value() for each in settings.key_encryption_secrets] == ["new", "old"]
    assert (settings.sweep_interval, settings.log_level) == (0.25, "DEBUG")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_schemes_of_the_database_uri(environment: pytest.MonkeyPatch, scheme: str):
    environment.setenv("DATABASE_URI", f"{scheme}://u:p@db:1/x")
    url = load_settings(DatabaseSettings).database_url
    assert url.drivername == "postgresql+psycopg2"


def test_repr_shows_no_secrets(environment: pytest.MonkeyPatch):
    del environment
    text = repr(load_settings(Settings))
    assert "hush" not in text
    assert "pass%40word" not in text


@pytest.mark.parametrize(
    "uri", ["postgresql://u:p@ss:w0rd@db/x", "w0rd", "postgresql://u:w0rd@db:x/y"]
)
def test_an_invalid_database_uri_is_not_quoted(environment: pytest.MonkeyPatch, uri: str):
    environment.setenv("DATABASE_URI", uri)
    with pytest.raises(ConfigurationError) as raised:
        load_settings(DatabaseSettings)
    assert "w0rd" not in str(raised.value)


@pytest.mark.parametrize("origins", ["https://*.a.example", "a.example", "http://a,b"])
def test_invalid_origins_are_rejected(environment: pytest.MonkeyPatch, origins: str):
    environment.setenv("CORS_ORIGINS", origins)
    with pytest.raises(ConfigurationError, match="CORS_ORIGINS"):
        load_settings(Settings)


@pytest.mark.parametrize("networks", ["a.example", "10.0.0.1/8", "10.0.0.0/33", "2001:db8::/32,x"])
def test_invalid_networks_are_rejected(environment: pytest.MonkeyPatch, networks: str):
    environment.setenv("WEBHOOK_FORBIDDEN_NETWORKS", networks)
    with pytest.raises(ConfigurationError, match="WEBHOOK_FORBIDDEN_NETWORKS"):
        load_settings(Settings)


def test_networks(environment: pytest.MonkeyPatch):
    environment.setenv("WEBHOOK_FORBIDDEN_NETWORKS", " 203.0.113.0/24, 2001:db8::/32,192.0.2.1")
    networks = load_settings(Settings).webhook_forbidden_networks
    assert [str(each) for each in networks] == ["203.0.113.0/24", "2001:db8::/32", "192.0.2.1/32"]


def test_the_introspection_url_keeps_its_slash(environment: pytest.MonkeyPatch):
    environment.setenv("HYDRA_INTROSPECT_URL", "http://hydra.example/introspect/")
    environment.setenv("HYDRA_URL", "http://hydra.example/")
    settings = load_settings(Settings)
    assert settings.hydra_introspect_url == "http://hydra.example/introspect/"
    assert settings.hydra_url == "http://hydra.example"


def test_an_origin_loses_its_slash(environment: pytest.MonkeyPatch):
    environment.setenv("CORS_ORIGINS", "https://a.example/, *")
    assert load_settings(Settings).cors_origins == ["https://a.example", "*"]


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "t", "y", "Yes", "oN"])
def test_texts_that_mean_yes(environment: pytest.MonkeyPatch, text: str):
    environment.setenv("DEBUG", text)
    assert load_settings(Settings).debug is True


@pytest.mark.parametrize("text", ["0", "false", "False", "F", "n", "NO", "off"])
def test_texts_that_mean_no(environment: pytest.MonkeyPatch, text: str):
    environment.setenv("TLS_VERIFY", text)
    assert load_settings(Settings).tls_verify is False


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("WORKERS", " 4 ", 4),
        ("WORKERS", "4.0", 4),
        ("WORKERS", "+04", 4),
        ("MAX_BODY_BYTES", "1_000", 1000),
        ("REDIS_PORT", "65535", 65535),
        ("METRICS_PORT", "0", 0),
        ("TOKEN_CACHE_SECONDS", "0", 0.0),
        ("SWEEP_INTERVAL", " .5 ", 0.5),
        ("BATCH_RESUBMIT_AFTER", "1e3", 1000.0),
    ],
)
def test_numbers(environment: pytest.MonkeyPatch, name: str, text: str, number: float):
    environment.setenv(name, text)
    found = getattr(load_settings(Settings), name.lower())
    assert (found, type(found)) == (number, type(number))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DEBUG", "2"),
        ("DEBUG", " 1"),
        ("WORKERS", "0"),
        ("WORKERS", "1.5"),
        ("WORKERS", "1e3"),
        ("WORKERS", "0x10"),
        ("REDIS_PORT", "0"),
        ("REDIS_PORT", "65536"),
        ("METRICS_PORT", "-1"),
        ("REDIS_CACHE_DB", "-1"),
        ("SWEEP_INTERVAL", "0"),
        ("SWEEP_INTERVAL", "nan"),
        ("SWEEP_INTERVAL", "1e999"),
        ("TOKEN_CACHE_SECONDS", "-1"),
        ("DRAIN_SECONDS", "3601"),
        ("DRAIN_SECONDS", "1e300"),
        ("TOKEN_CACHE_SECONDS", "inf"),
        ("LOG_LEVEL", "LOUD"),
        ("SECRET", "\udcff"),
    ],
)
def test_values_out_of_range_or_of_another_type(
    environment: pytest.MonkeyPatch, name: str, text: str
):
    environment.setenv(name, text)
    with pytest.raises(ConfigurationError, match=rf" {name}: ") as raised:
        load_settings(Settings)
    assert str(raised.value).count("; ") == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://ledger:8008",
        "http://data_hub:80/api",
        "HTTPS://Ledger.example",
        "http://localhost",
        "http://10.0.0.1:65535/a?b=c#d",
        "http://[::1]:8008",
        "http://me:p%40ss@ledger",
        "http://bücher.example",
    ],
)
def test_valid_urls_stay_unchanged(environment: pytest.MonkeyPatch, url: str):
    environment.setenv("LEDGER_URL", f" {url}/ ")
    environment.setenv("HYDRA_INTROSPECT_URL", f" {url} ")
    settings = load_settings(Settings)
    assert (settings.ledger_url, settings.hydra_introspect_url) == (url, url)


@pytest.mark.parametrize(
    "url",
    [
        "ledger:8008",
        "ftp://ledger",
        "http:",
        "http://",
        "http:ledger",
        "http:///ledger",
        "http://:8008",
        "http://me@",
        "http://led ger",
        "http://ledger/a b",
        "http://ledger:x",
        "http://ledger:65536",
        "http://[::1",
        "http://[ledger]",
    ],
)
def test_invalid_urls(environment: pytest.MonkeyPatch, url: str):
    environment.setenv("LEDGER_URL", url)
    environment.setenv("HYDRA_INTROSPECT_URL", url)
    with pytest.raises(ConfigurationError) as raised:
        load_settings(Settings)
    message = "not an http:// or https:// URL"
    assert str(raised.value).partition(": ")[2].split("; ") == [
        f"HYDRA_INTROSPECT_URL: {message}",
        f"LEDGER_URL: {message}",
    ]


_KEY = "InstrumentationKey=00000000-1111-4222-8333-444444444444"


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (_KEY, _KEY),
        (
            f"{_KEY};IngestionEndpoint=https://a.example/;",
            f"{_KEY};IngestionEndpoint=https://a.example/",
        ),
        (";", ""),
        ("InstrumentationKey=w0rd", None),
        (f"{_KEY};IngestionEndpoint=w0rd", None),
        ("w0rd", None),
    ],
)
def test_azures_connection_string(environment: pytest.MonkeyPatch, text: str, taken: str | None):
    environment.setenv("AZURE_APP_INSIGHTS_CONN_STRING", text)
    if taken is None:
        with pytest.raises(
            ConfigurationError, match="AZURE_APP_INSIGHTS_CONN_STRING: not Instr"
        ) as raised:
            load_settings(Settings)
        assert "w0rd" not in str(raised.value)
    else:
        assert load_settings(Settings).azure_app_insights_conn_string.get_secret_value() == taken


def test_settings_can_be_made_from_other_settings(environment: pytest.MonkeyPatch):
    environment.setenv("KEY_ENCRYPTION_SECRETS", "new, old")
    settings = load_settings(Settings)
    changed: Any = Settings.of({**vars(settings), "workers": 7, "unknown": 1})
    assert changed.workers == 7
    assert [each.get_secret_value() for each in changed.key_encryption_secrets] == ["new", "old"]
    assert changed.database_uri.get_secret_value() == settings.database_uri.get_secret_value()


@pytest.mark.parametrize(
    ("changes", "weak"),
    [
        ({"SECRET": "a" * 15}, ["SECRET has fewer than 16 characters"]),
        ({"SECRET": "x"}, ["SECRET has fewer than 16 characters"]),
        ({"SECRET": "a" * 16}, []),
        ({"KEY_ENCRYPTION_SECRETS": f"{'a' * 16},short"}, ["KEY_ENCRYPTION_SECRETS has"]),
        ({"WEBHOOK_SECRET": "short"}, ["WEBHOOK_SECRET has fewer than 16 characters"]),
        (
            {"SECRET": "development-only-not-a-secret", "WEBHOOK_SECRET": "sandbox-webhook-secret"},
            ["SECRET is the one that .env.example", "WEBHOOK_SECRET is the one"],
        ),
    ],
)
def test_each_start_warns_of_weak_secrets(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    weak: list[str],
):
    strong = {"SECRET": "s" * 16, "KEY_ENCRYPTION_SECRETS": "k" * 20, "WEBHOOK_SECRET": "w" * 16}
    for name, value in (strong | changes).items():
        environment.setenv(name, value)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logging(load_settings(Settings))
    finally:
        root.handlers[:], root.level = before
    warned = [line for line in capsys.readouterr().out.splitlines() if '"WARNING"' in line]
    assert len(warned) == len(weak)
    assert all(text in line for text, line in zip(weak, warned, strict=True))
    assert not any(value in line for value in changes.values() for line in warned)


@pytest.mark.parametrize("name", ["SECRET", "WEBHOOK_SECRET"])
def test_a_blank_secret_is_rejected(environment: pytest.MonkeyPatch, name: str):
    for nothing in ("", " ", "\t\n"):
        environment.setenv(name, nothing)
        with pytest.raises(ConfigurationError, match=name):
            load_settings(Settings)
