"""What `make alerts-check` needs: says what is missing before anything starts."""

import pytest

from tests.support.prometheus_server import prometheus_program


def pytest_sessionstart() -> None:
    """End at once without Prometheus."""
    try:
        prometheus_program()
    except FileNotFoundError as error:
        pytest.exit(str(error), returncode=2)
