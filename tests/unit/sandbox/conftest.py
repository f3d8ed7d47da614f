"""Fixtures of the sandbox's unit tests."""

import pytest


def pytest_collection_modifyitems(items):
    """Ignore deprecation warnings: bip32utils calls deprecated functions of ecdsa."""
    here = __file__.rpartition("/")[0]
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(
                pytest.mark.filterwarnings("ignore:Function is unused:DeprecationWarning")
            )
