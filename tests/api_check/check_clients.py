"""Clients generated from doc/openapi.json: they compile, and work with the running service."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from devstack.environment import inherited
from devstack.processes import ROOT
from devstack.stack import FRONTEND_CLIENT_ID
from tests.api_check.conftest import AMOUNT
from tests.integration.oidc.packages import node
from tests.support.live_system import Household, LiveSystem

_HERE = Path(__file__).parent
_DOCUMENT = ROOT / "doc/openapi.json"
_PACKAGE = "account_service_client"


def _run(command: Iterable[str | Path], folder: Path, **variables: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    ended = subprocess.run(
        list(command),
        env={**inherited(), **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def _situation(system: LiveSystem, anna: Household) -> dict[str, str]:
    """Return what the clients need to know, as variables."""
    return {
        "SERVICE_URL": system.stack.url,
        "HYDRA_URL": system.sandbox.urls["hydra"],
        "CLIENT_ID": FRONTEND_CLIENT_ID,
        "REDIRECT_URI": "http://127.0.0.1:5173/callback",
        "SUBJECT": anna.subject,
        "RECIPIENT": "bo",
        "AMOUNT": str(AMOUNT),
    }


def _check_what_was_done(anna: Household) -> None:
    """Check in the service what both clients say they have done."""
    assert anna.api.total_wh(category="stored") == AMOUNT - 100


@pytest.fixture(scope="session")
def python() -> Path:
    """Return the Python of an environment with the generator of Python clients, installed once."""
    requirements = _HERE / "requirements.txt"
    digest = sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = ROOT / ".run" / f"python-client-{digest}"
    found = folder / "bin/python"
    if not (folder / ".installed").exists():
        _run([sys.executable, "-m", "venv", "--clear", folder], ROOT)
        install = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
        _run([found, *install, "--requirement", requirements], ROOT)
        (folder / ".installed").touch()
    return found


@pytest.fixture
def typescript(packages: Path, tmp_path: Path) -> Path:
    """Return a folder with the generated types, and the client that uses them."""
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    for name in ("smoke.ts", "tsconfig.json"):
        shutil.copy(_HERE / name, tmp_path)
    generator = packages / "node_modules/openapi-typescript/bin/cli.js"
    _run([node(), generator, _DOCUMENT, "--output", tmp_path / "api.ts"], tmp_path)
    return tmp_path


@pytest.mark.timeout(300)
def test_a_client_in_typescript_works(
    typescript: Path, packages: Path, system: LiveSystem, anna: Household
):
    compiler = packages / "node_modules/typescript/bin/tsc"
    _run([node(), compiler, "--project", typescript], typescript)
    printed = _run([node(), "smoke.ts"], typescript, **_situation(system, anna))
    assert json.loads(printed)["stored"] == AMOUNT
    _check_what_was_done(anna)


def test_its_types_leave_nothing_open(typescript: Path):
    generated = (typescript / "api.ts").read_text()
    code = [line for line in generated.splitlines() if not line.lstrip().startswith(("*", "/*"))]
    # Further headers, the content of responses without one, and what an order's request was are not known.
    of_strings = ("[name: string]: unknown;", "[key: string]: unknown;")
    known = [line for line in code if not line.strip().startswith(of_strings)]
    assert len(known) > 1000
    open_types = [line for line in known if _names_an_open_type(line)]
    assert open_types == []


def _names_an_open_type(line: str) -> bool:
    words = line.replace(";", " ").replace("[", " ").replace("]", " ").split()
    return "any" in words or "unknown" in words


@pytest.mark.timeout(600)
def test_a_client_in_python_works(
    python: Path, system: LiveSystem, anna: Household, tmp_path: Path
):
    package = tmp_path / _PACKAGE
    options = ["--path", _DOCUMENT, "--output-path", package, "--meta", "none"]
    config = ["--config", _HERE / "python-client.yaml", "--fail-on-warning"]
    path = f"{python.parent}:/usr/bin:/bin"
    _run(
        [python.parent / "openapi-python-client", "generate", *options, *config],
        tmp_path,
        PATH=path,
    )
    _check_types(python, tmp_path)
    for module in _modules(package):
        assert compile(module.read_text(), str(module), "exec")
    printed = _run([python, tmp_path / "smoke.py"], tmp_path, **_situation(system, anna))
    assert json.loads(printed)["stored"] == AMOUNT
    _check_what_was_done(anna)


def _modules(package: Path) -> Iterator[Path]:
    found = sorted(package.rglob("*.py"))
    assert len(found) > 80
    yield from found


def _check_types(python: Path, folder: Path) -> None:
    """Check the client's use of the generated types."""
    shutil.copy(_HERE / "smoke.py", folder)
    checker: list[Any] = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--no-incremental",
    ]
    # The generator's own code is not strict.
    checker += ["--follow-imports=silent", "--python-executable", python]
    _run([*checker, folder / "smoke.py"], folder)
