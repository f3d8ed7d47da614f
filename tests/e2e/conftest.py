"""Fixtures: one system for all tests of this folder; each test creates its own households."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.configured import Postgres, Redis
from tests.support.certificates import loopback_certificate
from tests.support.live_system import LiveSystem, running_system
from tests.support.otlp_collector import Collector, otlp_collector

_DATABASE = "test_e2e"


COLLECTORS_TOKEN = "token-of-the-collector"


@pytest.fixture(scope="package")
def collector(certificate: Path) -> Iterator[Collector]:
    """The collector that all processes send their spans to."""
    with otlp_collector(certificate) as running:
        yield running


@pytest.fixture(scope="package")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collector's certificate, which no system trusts by itself."""
    return loopback_certificate(tmp_path_factory.mktemp("collector"))


@pytest.fixture(scope="package")
def system(
    postgres: Postgres,
    valkey: Redis,
    tmp_path_factory: pytest.TempPathFactory,
    collector: Collector,
    certificate: Path,
) -> Iterator[LiveSystem]:
    """A system whose three processes started at the same time, on an empty database."""
    traces = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate),
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer {COLLECTORS_TOKEN}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=e2e",
        # An hour: before that, a process sends full batches, and the rest when it ends.
        "OTEL_BSP_SCHEDULE_DELAY": "3600000",
    }
    postgres.drop_database(_DATABASE)
    uri = postgres.create_database(_DATABASE)
    with running_system(uri, valkey, tmp_path_factory.mktemp("e2e"), traces) as running:
        yield running
    postgres.drop_database(_DATABASE)
