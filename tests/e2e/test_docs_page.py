"""The API's documentation page in a real browser: the system's chromium, or one from npm."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.environment import inherited
from tests.integration.oidc.packages import installed_packages, node
from tests.support.live_system import LiveSystem

# Long, for busy machines, and for the first time, which unpacks a browser from 67 MB.
_SECONDS = 150
_SOURCES = Path(__file__).parent / "browser"


def _visit(system: LiveSystem, token: str, scratch: Path) -> dict[str, Any]:
    """Open the page in the browser, and return what it saw."""
    packages = installed_packages(_SOURCES, "browser")
    ended = subprocess.run(
        [node(), _SOURCES / "docs.mjs", f"{system.stack.url}/docs"],
        env={
            **inherited(),
            "PACKAGES": str(packages),
            "CHROMIUM": os.environ.get("CHROMIUM") or shutil.which("chromium") or "",
            "TOKEN": token,
            # The browser from npm is unpacked here, once per clone.
            "TMPDIR": str(packages / "unpacked"),
            "HOME": str(scratch),
        },
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return seen


@pytest.mark.timeout(300)
def test_the_page_shows_every_operation_and_tries_one(system: LiveSystem, tmp_path: Path):
    subject, anna = system.log_in("anna")
    token = str(anna.session.headers["Authorization"]).removeprefix("Bearer ")
    seen = _visit(system, token, tmp_path)
    assert seen["title"] == "AccountService: the API"
    document = requests.get(f"{system.stack.url}/openapi.json", timeout=10).json()
    expected = {f"{method} {path}" for path, has in document["paths"].items() for method in has}
    assert set(seen["operations"]) == expected
    assert seen["status"].startswith("200")
    assert subject in seen["body"]
    # The page loads nothing from other hosts, and has no errors.
    assert {
        url for url in seen["asked"] if not url.startswith((system.stack.url, "data:"))
    } == set()
    assert seen["complaints"] == []
