"""The image's health check, run as the Dockerfile says."""

import json
import os
import re
import subprocess
import sys

from devstack.processes import ROOT
from tests.support.recording_server import recording_server


def test_the_images_health_check_uses_no_proxy():
    """A proxy in the environment is for the peers, and can't reach the container's own port."""
    [command] = re.findall(
        r"^HEALTHCHECK .*\\\n  CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    _, *arguments = json.loads(command)
    with recording_server() as web, recording_server() as proxy:
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), proxy.url)
        environment = {**os.environ, **proxies, "PORT": web.url.rpartition(":")[2]}
        for name in ("no_proxy", "NO_PROXY"):
            environment.pop(name, None)
        subprocess.run([sys.executable, *arguments], env=environment, check=True, timeout=60)
    assert [each.path for each in web.requests] == ["/health/live"]
    assert proxy.requests == []
    # The web is stopped.
    gone = subprocess.run(
        [sys.executable, *arguments], env=environment, check=False, capture_output=True, timeout=60
    )
    assert gone.returncode != 0
