"""What `make alerts-check` needs: says what is missing before anything starts."""

import shutil

import pytest


@pytest.fixture(scope="session")
def prometheus_program() -> str:
    """The path of Prometheus."""
    found = shutil.which("prometheus")
    if found is None:
        pytest.exit("prometheus is missing: install Debian's package prometheus", returncode=2)
    return found
