"""Every listening process reads BIND_HOST in the same way, also with IPv6 alone."""

import http.client
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.ports import LOOPBACK, free_port
from devstack.processes import ROOT
from origin.settings import Settings
from origin.telemetry import metrics
from tests.support.served import running_web
from tests.support.world import World

_HOSTS = ["0.0.0.0", "::", "[::1]"]  # noqa: S104 - to be tried


def _health_check(**environment: str) -> int:
    """Return the exit status of the image's health check. Its proxies lead nowhere."""
    nowhere = f"http://{LOOPBACK}:9"
    return subprocess.run(
        [sys.executable, "-m", "origin.healthcheck"],
        env={
            "PYTHONPATH": str(ROOT / "src"),
            "HTTP_PROXY": nowhere,
            "http_proxy": nowhere,
            **environment,
        },
        check=False,
        timeout=30,
    ).returncode


@pytest.mark.parametrize("host", _HOSTS)
def test_a_web_listens_on_bind_host(module_database_uri: str, tmp_path: Path, host: str):
    with running_web(module_database_uri, tmp_path, host=host) as web:
        assert web.live_s() < 5
        assert _health_check(BIND_HOST=host, PORT=str(web.port)) == 0
    assert _health_check(BIND_HOST=host, PORT=str(web.port)) == 1


@pytest.mark.parametrize("host", _HOSTS)
def test_metrics_of_worker_and_beat_listen_on_bind_host(world: World, host: str):
    settings = Settings.of({**vars(world.settings), "bind_host": host})
    port = metrics.serve(settings.bind_host, free_port())
    connection = http.client.HTTPConnection("::1" if ":" in host else LOOPBACK, port, timeout=10)
    connection.request("GET", "/metrics")
    assert connection.getresponse().status == 200
    connection.close()
