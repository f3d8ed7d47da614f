"""Settings: one message for all that is wrong, and no secret in it."""

import pytest

from origin.errors import ConfigurationError
from origin.settings import DatabaseSettings, Settings, load_settings

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


def test_the_required_are_enough(environment: pytest.MonkeyPatch):
    del environment
    settings = load_settings(Settings)
    assert settings.project_url == "http://accounts.example"
    assert settings.ledger_url == "http://ledger.example"
    assert settings.cors_origins == ["http://a.example", "http://b.example"]
    assert settings.login_return_origins == settings.cors_origins
    assert [each.get_secret_value() for each in settings.key_encryption_secrets] == ["hush"]
    assert settings.database_url.password == "pass@word"
    assert (settings.sweep_interval, settings.lease_seconds, settings.tls_verify) == (10, 60, True)


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_missing_one_is_named(environment: pytest.MonkeyPatch, name: str):
    environment.delenv(name)
    with pytest.raises(ConfigurationError, match=rf"\n  {name}: Field required"):
        load_settings(Settings)


def test_all_that_is_wrong_is_named_at_once_and_no_value_is_shown(environment: pytest.MonkeyPatch):
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
        assert f"\n  {name}: " in message
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


def test_no_origin_at_all_may_be_allowed(environment: pytest.MonkeyPatch):
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
def test_the_database_may_be_written_in_several_ways(environment: pytest.MonkeyPatch, scheme: str):
    environment.setenv("DATABASE_URI", f"{scheme}://u:p@db:1/x")
    url = load_settings(DatabaseSettings).database_url
    assert url.drivername == "postgresql+psycopg2"


def test_redis_urls_carry_user_and_password_quoted(environment: pytest.MonkeyPatch):
    environment.setenv("REDIS_USERNAME", "me")
    environment.setenv("REDIS_PASSWORD", "p@:/")
    assert load_settings(Settings).broker_url == "redis://me:p%40%3A%2F@redis:6379/1"


def test_secrets_do_not_show_in_the_settings_text(environment: pytest.MonkeyPatch):
    del environment
    text = repr(load_settings(Settings))
    assert "hush" not in text
    assert "pass%40word" not in text


@pytest.mark.parametrize(
    "uri", ["postgresql://u:p@ss:w0rd@db/x", "w0rd", "postgresql://u:w0rd@db:x/y"]
)
def test_a_database_uri_that_is_none_is_not_quoted(environment: pytest.MonkeyPatch, uri: str):
    environment.setenv("DATABASE_URI", uri)
    with pytest.raises(ConfigurationError) as raised:
        load_settings(DatabaseSettings)
    assert "w0rd" not in str(raised.value)


@pytest.mark.parametrize("origins", ["https://*.a.example", "a.example", "http://a,b"])
def test_what_is_no_origin_is_refused(environment: pytest.MonkeyPatch, origins: str):
    environment.setenv("CORS_ORIGINS", origins)
    with pytest.raises(ConfigurationError, match="CORS_ORIGINS"):
        load_settings(Settings)


def test_the_introspection_endpoint_stays_as_it_stands(environment: pytest.MonkeyPatch):
    environment.setenv("HYDRA_INTROSPECT_URL", "http://hydra.example/introspect/")
    environment.setenv("HYDRA_URL", "http://hydra.example/")
    settings = load_settings(Settings)
    assert settings.hydra_introspect_url == "http://hydra.example/introspect/"
    assert settings.hydra_url == "http://hydra.example"


def test_an_origin_loses_its_slash(environment: pytest.MonkeyPatch):
    environment.setenv("CORS_ORIGINS", "https://a.example/, *")
    assert load_settings(Settings).cors_origins == ["https://a.example", "*"]
