"""With a wrong configuration, every process and command exits with one line, without a traceback."""

import subprocess
import sys
from collections.abc import Mapping

import pytest
from dotenv import dotenv_values
from sqlalchemy.engine import make_url

from devstack.configured import Postgres
from devstack.environment import inherited
from devstack.processes import ROOT

_FLASK = [sys.executable, "-m", "flask", "--app", "origin.app:create_app()"]
_CELERY = [sys.executable, "-m", "celery", "--quiet", "--app", "origin.tasks.app:celery_app"]
_MIGRATE = [sys.executable, "-m", "origin.migrate"]
_ENTRY_POINTS = {name: [str(ROOT / f"entrypoint.{name}.sh")] for name in ("web", "worker", "beat")}
STARTS = {
    **_ENTRY_POINTS,
    "migrate": [*_MIGRATE, "--check-settings"],
    "worker alone": [*_CELERY, "worker", "--pool", "gevent"],
    "beat alone": [*_CELERY, "beat", "--scheduler", "celery.beat.Scheduler"],
    "help": [*_FLASK, "--help"],
    "develop": [*_FLASK, "run", "--port", "0"],
    "users": [*_FLASK, "users", "list"],
    "ledger": [*_FLASK, "ledger", "status"],
    "keys": [*_FLASK, "keys", "rotate"],
    "webhooks": [*_FLASK, "webhooks", "list"],
}


@pytest.fixture
def environment(postgres: Postgres) -> dict[str, str]:
    example = {name: value or "" for name, value in dotenv_values(ROOT / ".env.example").items()}
    secret = {"SECRET": "a secret of enough characters", "WEBHOOK_SECRET": "another long secret"}
    # Nothing listens at these ports, so a process that starts in spite of the error fails the test.
    away = {"PORT": "0", "REDIS_PORT": "9", "BIND_HOST": "127.0.0.1"}
    database = {"DATABASE_URI": postgres.uri}
    return {**inherited(), **example, **secret, **away, **database, "PYTHONPATH": f"{ROOT}/src"}


def _end(command: list[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command to its end; return its exit status and its output."""
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", STARTS)
def test_a_missing_variable(environment: dict[str, str], name: str):
    environment |= {"PORT": "abc", "SECRET": "", "DATABASE_URI": "postgresql://a:hush@nowhere/b"}
    del environment["HYDRA_URL"]
    status, said = _end(STARTS[name], environment)
    assert status != 0
    [line] = said.splitlines()
    assert "HYDRA_URL: Field required" in line
    assert "SECRET: Field required" in line
    assert "PORT: Input should be a valid integer" in line
    assert "hush" not in line
    assert "abc" not in line


@pytest.mark.parametrize("name", ["web", "worker", "beat", "migrate", "users", "ledger", "keys"])
def test_a_wrong_password(environment: dict[str, str], name: str):
    url = make_url(environment["DATABASE_URI"]).set(password="hush-hush")
    environment["DATABASE_URI"] = url.render_as_string(hide_password=False)
    environment["PORT"] = "8085"
    status, said = _end(STARTS[name], environment)
    assert status != 0
    [line] = said.splitlines()
    assert "database" in line
    assert "hush-hush" not in line


@pytest.mark.parametrize("name", ["web", "migrate"])
def test_a_database_that_is_not_there(environment: dict[str, str], name: str):
    url = make_url(environment["DATABASE_URI"])
    environment["PORT"] = "8085"
    for wrong in (url.set(port=9), url.set(host="no.such.host.invalid"), url.set(database="none")):
        environment["DATABASE_URI"] = wrong.render_as_string(hide_password=False)
        status, said = _end(STARTS[name], environment)
        assert status != 0
        [line] = said.splitlines()
        assert "database" in line
        assert url.password not in line
