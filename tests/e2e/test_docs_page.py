"""The API's documentation page in a real browser: the system's chromium, or one from npm."""

import json
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from devstack.client import Browser
from devstack.environment import inherited
from tests.integration.oidc.packages import installed_packages, node
from tests.support.live_system import LiveSystem

# Long, for busy machines, and for the first time, which unpacks a browser from 67 MB.
_SECONDS = 150
_SOURCES = Path(__file__).parent / "browser"


def _visit(system: LiveSystem, subject: str, scratch: Path) -> dict[str, Any]:
    """Open the page in the browser, log in there as this subject, and return what was seen."""
    packages = installed_packages(_SOURCES, "browser")
    ended = subprocess.run(
        [node(), _SOURCES / "docs.mjs", f"{system.stack.url}/docs", subject],
        env={
            **inherited(),
            "PACKAGES": str(packages),
            "CHROMIUM": os.environ.get("CHROMIUM") or shutil.which("chromium") or "",
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
def test_a_user_logs_in_on_the_page_and_tries_operations(system: LiveSystem, tmp_path: Path):
    anna = system.household("anna")
    address = system.issue(anna, 0, 1000)
    with closing(Browser()) as browser:
        browser.log_in(system.stack.url, "bo", f"{system.stack.url}/home")
    seen = _visit(system, anna.subject, tmp_path)
    assert seen["title"] == "AccountService: the API"
    document = requests.get(f"{system.stack.url}/openapi.json", timeout=10).json()
    expected = {
        f"{method} {path}"
        for part in ("paths", "webhooks")
        for path, has in document[part].items()
        for method in has
    }
    assert set(seen["operations"]) == expected
    assert seen["account"]["status"].startswith("200")
    assert anna.subject in seen["account"]["body"]
    # The example works as it stands: the page has put the caller's GGO into it.
    assert seen["compose"]["status"].startswith("200"), seen["compose"]
    assert anna.api.total_wh(category="stored") == 900
    assert anna.api.total_wh(category="stored", address=[address]) == 0
    # The page loads nothing from other hosts but the token, and has no errors.
    hydra = system.sandbox.urls["hydra"]
    elsewhere = {url for url in seen["asked"] if not url.startswith((system.stack.url, "data:"))}
    assert elsewhere == {f"{hydra}/oauth2/token"}
    assert seen["complaints"] == []
