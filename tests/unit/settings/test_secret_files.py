"""Secrets from files: NAME_FILE in place of NAME, for each variable that is a secret."""

import errno
import os
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import SecretStr

from devstack.processes import ROOT
from origin.errors import ConfigurationError
from origin.settings import (
    AdoptionSettings,
    DatabaseSettings,
    EnvironmentSettings,
    Settings,
    load_settings,
)

_EXAMPLE = {name: each for name, each in dotenv_values(ROOT / ".env.example").items() if each}
_CONTENTS = {
    "SECRET": "the secret itself",
    "KEY_ENCRYPTION_SECRETS": "the first,the second",
    "WEBHOOK_SECRET": "the webhook's",
    "HYDRA_CLIENT_SECRET": "the client's",
    "DATABASE_URI": "postgresql://me:pass@db/accounts",
    "REDIS_PASSWORD": " with spaces ",
    "REDIS_SENTINEL_PASSWORD": "the Sentinels'",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer abc",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer of-traces",
    "AZURE_APP_INSIGHTS_CONN_STRING": "InstrumentationKey=00000000-1111-4222-8333-444444444444",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*Settings.model_fields, "adopt_from"):
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    for name, value in _EXAMPLE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def _reasons(environment: pytest.MonkeyPatch, **variables: str | Path) -> dict[str, str]:
    """Return what is wrong with these variables, by name."""
    for name, value in variables.items():
        environment.setenv(name, str(value))
    with pytest.raises(ConfigurationError) as raised:
        load_settings(Settings)
    _, _, reasons = str(raised.value).partition(": ")
    return dict(each.split(": ", 1) for each in reasons.split("; "))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mounted"


def test_which_variables_are_secrets_follows_from_their_types():
    assert {name.upper() for name in Settings.secret_names()} == set(_CONTENTS)

    class More(EnvironmentSettings):
        plain: str = ""
        later: list[SecretStr] | None = None

    assert More.secret_names() == ["later"]


def test_the_page_names_each_of_them():
    page = (ROOT / "doc/operations/variables.md").read_text()
    _, _, part = page.partition("## Secrets from files")
    named = set(re.findall(r"`([A-Z_]+)_FILE`", part.partition("\n- ")[0]))
    assert named == {*_CONTENTS, "ADOPT_FROM", "NAME"}
    assert set(re.findall(r"\b([A-Z_]+)_FILE=", (ROOT / ".env.example").read_text())) >= {"SECRET"}


def test_all_secrets_may_come_from_files(environment: pytest.MonkeyPatch, tmp_path: Path):
    for name, content in _CONTENTS.items():
        environment.delenv(name, raising=False)
        path = tmp_path / name
        path.write_text(f"{content}\n")
        environment.setenv(f"{name}_FILE", str(path))
    settings = load_settings(Settings)
    assert settings.secret.get_secret_value() == "the secret itself"
    secrets = [each.get_secret_value() for each in settings.key_encryption_secrets]
    assert secrets == ["the first", "the second"]
    assert settings.database_url.password == "pass"
    assert load_settings(DatabaseSettings).database_url == settings.database_url
    assert settings.redis_password.get_secret_value() == " with spaces "
    assert settings.azure_app_insights_conn_string.get_secret_value().startswith("Instr")


def test_that_of_adopt_too(environment: pytest.MonkeyPatch, file: Path):
    assert load_settings(AdoptionSettings).adopt_from is None
    file.write_text("postgresql://original\n")
    environment.setenv("ADOPT_FROM_FILE", str(file))
    given = load_settings(AdoptionSettings).adopt_from
    assert given is not None
    assert given.get_secret_value() == "postgresql://original"


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"hush", "hush"),
        (b"hush\n", "hush"),
        (b"hush\r\n", "hush"),
        (b"hush\n\n", "hush\n"),
        (b" hush \r", " hush \r"),
        ("gehört\n".encode(), "gehört"),
    ],
)
def test_one_newline_at_the_end_is_removed(
    environment: pytest.MonkeyPatch, file: Path, content: bytes, secret: str
):
    file.write_bytes(content)
    environment.delenv("HYDRA_CLIENT_SECRET")
    environment.setenv("HYDRA_CLIENT_SECRET_FILE", str(file))
    assert load_settings(Settings).hydra_client_secret.get_secret_value() == secret


def test_a_link_to_a_file_that_only_its_owner_may_read_is_enough(
    environment: pytest.MonkeyPatch, tmp_path: Path
):
    """As Kubernetes mounts secrets: a link to a file in a folder that is a link."""
    folder = tmp_path / "..2026"
    folder.mkdir()
    (folder / "secret").write_text("hush from a pod")
    (folder / "secret").chmod(0o400)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "secret").symlink_to("..data/secret")
    environment.delenv("SECRET")
    environment.setenv("SECRET_FILE", str(tmp_path / "secret"))
    assert load_settings(Settings).secret.get_secret_value() == "hush from a pod"


def test_both_are_too_many(environment: pytest.MonkeyPatch, file: Path):
    file.write_text("other")
    assert _reasons(environment, SECRET_FILE=file) == {
        "SECRET and SECRET_FILE": "only one of them may be set"
    }
    environment.setenv("SECRET", "")
    assert load_settings(Settings).secret.get_secret_value() == "other"
    environment.setenv("SECRET", "this")
    environment.setenv("SECRET_FILE", "")
    assert load_settings(Settings).secret.get_secret_value() == "this"


def test_all_wrong_files_are_named_with_all_wrong_variables(
    environment: pytest.MonkeyPatch, tmp_path: Path
):
    """Neither a path nor a content is shown: the path may be the secret itself."""
    contents = {
        "empty": b"\n",
        "blank": b" \t\n",
        "binary": b"s3cr3t\xff",
        "null": b"s3cr3t\0",
        "long": b"s3cr3t" * 200_000,
        "mysql": b"mysql://root:s3cr3t@db/x",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in _CONTENTS:
        environment.delenv(name, raising=False)
    reasons = _reasons(
        environment,
        SECRET_FILE=tmp_path / "blank",
        WEBHOOK_SECRET_FILE="s3cr3t",
        HYDRA_CLIENT_SECRET_FILE=tmp_path / "binary",
        REDIS_PASSWORD_FILE=tmp_path / "empty",
        REDIS_SENTINEL_PASSWORD_FILE=tmp_path / "long",
        KEY_ENCRYPTION_SECRETS_FILE=tmp_path / "null",
        AZURE_APP_INSIGHTS_CONN_STRING_FILE=tmp_path,
        DATABASE_URI_FILE=tmp_path / "mysql",
        LOG_LEVEL="s3cr3t",
    )
    assert reasons.pop("LOG_LEVEL").startswith("Input should be")
    assert reasons == {
        "SECRET_FILE": "blank",
        "WEBHOOK_SECRET_FILE": "the file can't be read (No such file or directory)",
        "HYDRA_CLIENT_SECRET_FILE": "the file is not UTF-8",
        "REDIS_PASSWORD_FILE": "the file is empty",
        "REDIS_SENTINEL_PASSWORD_FILE": "the file is longer than 1048576 bytes",
        "KEY_ENCRYPTION_SECRETS_FILE": "the file has a null character",
        "AZURE_APP_INSIGHTS_CONN_STRING_FILE": "the file can't be read (Is a directory)",
        "DATABASE_URI_FILE": "only postgresql:// is supported",
    }
    assert "s3cr3t" not in str(reasons)


def test_a_file_that_may_not_be_read_is_named(environment: pytest.MonkeyPatch, file: Path):
    def refuse(*_: object, **__: object) -> None:
        # Root, as which containers' tests run, may read every file.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    environment.setattr("builtins.open", refuse)
    environment.delenv("SECRET")
    assert _reasons(environment, SECRET_FILE=file) == {
        "SECRET_FILE": "the file can't be read (Permission denied)"
    }
