"""What the sandbox's unit tests share."""

import pytest


def pytest_collection_modifyitems(items):
    """bip32utils calls functions of ecdsa that are deprecated there."""
    here = __file__.rpartition("/")[0]
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(
                pytest.mark.filterwarnings("ignore:Function is unused:DeprecationWarning")
            )
